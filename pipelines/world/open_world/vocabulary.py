"""The words of the open world: topics, moves of an answer, and the words of a prompt that set its stakes."""

from __future__ import annotations

TOPICS = (
    "kettle", "oven", "bike", "lamp", "roof", "drain", "fence", "mower", "heater", "piano",
    "boat", "clock", "pump", "tent", "engine", "fridge", "stove", "camera", "radio", "ladder",
)  # fmt: skip
DETAILS = (
    "adjust", "align", "anchor", "balance", "bend", "bind", "bleach", "bleed", "blow", "bolt", "brace", "brush",
    "buff", "caulk", "chill", "chisel", "clamp", "clean", "clip", "close", "coat", "coil", "comb", "connect",
    "cool", "crimp", "cut", "dampen", "degrease", "detach", "dilute", "drill", "dry", "dust", "empty", "etch",
    "fasten", "file", "fill", "filter", "flatten", "flip", "flush", "fold", "foam", "freeze", "fuse", "glaze",
    "glue", "grease", "grind", "hammer", "hang", "heat", "hoist", "hone", "inflate", "insulate", "iron", "join",
    "latch", "lather", "level", "lift", "loosen", "lubricate", "magnetise", "measure", "melt", "mix", "moisten",
    "mount", "nail", "notch", "oil", "open", "paint", "patch", "peel", "pin", "plane", "plaster", "plug",
    "polish", "pour", "press", "prime", "pry", "purge", "quench", "rake", "ream", "rebuild", "recharge",
    "reset", "reverse", "rinse", "rivet", "rub", "sand", "scrape", "screw", "scrub", "seal", "shake", "sharpen",
    "shim", "shorten", "sieve", "skim", "slice", "soak", "solder", "splice", "spray", "squeeze", "stack",
    "steam", "stir", "straighten", "strap", "stretch", "sweep", "swivel", "tape", "tap", "test", "thaw",
    "thread", "tie", "tighten", "tilt", "trim", "turn", "twist", "unplug", "vent", "warm", "wash", "wax",
    "weld", "widen", "wipe", "wire", "wrap",
)  # fmt: skip
"""What can be done, of which every topic has some of its own."""

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
