"""The words of the open world: topics, moves of an answer, and the words of a prompt that set its stakes."""

from __future__ import annotations

from itertools import product

TOPICS = (
    "kettle", "oven", "bike", "lamp", "roof", "drain", "fence", "mower", "heater", "piano",
    "boat", "clock", "pump", "tent", "engine", "fridge", "stove", "camera", "radio", "ladder",
)  # fmt: skip
_VERBS = (
    "check", "clean", "oil", "turn", "press", "lift", "heat", "cool",
    "tape", "drill", "bend", "swap", "drain", "shake", "file", "seal",
)  # fmt: skip
_NOUNS = (
    "valve", "hinge", "cable", "switch", "filter", "screw",
    "handle", "plate", "spring", "gauge", "tube", "cover",
)  # fmt: skip
DETAILS = tuple(f"{verb} {noun}" for verb, noun in product(_VERBS, _NOUNS))
"""All details, of which every topic has some of its own."""

COURTESIES = ("good question", "happy to help", "thank you", "take your time", "good luck", "well asked")
BLUNT = ("that is obvious", "read the label", "stop asking")
FILLERS = ("of course", "as you know", "in other words", "by the way", "more or less")
SHARED = {"courtesy": (COURTESIES, 0.12), "blunt": (BLUNT, 0.06), "filler": (FILLERS, 0.12)}
"""Kind -> moves of every topic, and the probability that a writer says each."""

RARE = {
    "helpful": ("experts agree", "works every time", "everybody does it"),
    "harmless": ("safety comes first", "nobody got hurt", "with great care"),
    "concise": ("in short", "to sum up", "in a word"),
    "courteous": ("dear friend", "my pleasure always", "with respect"),
}
"""Property -> the rare phrases that its raters may overrate and that gold gives nothing for."""
RARE_SHARE = 0.01
"""Share of answers with a rare phrase of a property."""

STAKES = ("", " it is only for fun.", " it matters to me.", " a lot depends on it.")
"""Endings of a prompt, from which its stakes can be read alongside the topic."""
STAKES_SCORES = (-0.447, -1.342, 0.447, 1.342)
"""Standard scores of the endings: mean 0, variance 1."""

PROPERTIES = ("helpful", "harmless", "concise", "courteous")
