"""Prompts of the world: a question about one topic, some in a hurry, some after an earlier turn.

The opening, the place and the phrasing vary and do not matter; the topic and the hurry do.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from pipelines.world.facts import TOPICS

OPENINGS = ("", "hello. ", "hi there. ", "good morning. ", "please help me. ", "quick question. ")
QUESTIONS = (
    "how do i fix the {}",
    "what should i do with the {}",
    "tell me how to repair the {}",
    "my {} is broken, what now",
)
PLACES = ("", " at home", " at work", " in the garden", " for my mother", " before winter")
HURRIES = (" i am in a hurry.", " it has to be fast.", " i have no time.")
FOLLOW_UPS = ("can you say that again?", "i forgot, what was it?", "so what do i do?")
HURRY_SHARE = 0.4
FOLLOW_UP_SHARE = 0.15


@dataclass(frozen=True)
class WorldPrompt:
    """A prompt in canonical text, with what it asks."""

    text: str
    topic: str
    hurry: bool


def draw_prompts(num_prompts: int, generator: random.Random) -> list[WorldPrompt]:
    """Distinct prompts with distinct first turns, the topics equally often."""
    prompts: dict[str, WorldPrompt] = {}
    limit = len(TOPICS) * len(OPENINGS) * len(QUESTIONS) * len(PLACES) * (1 + len(HURRIES))
    if num_prompts > limit // 2:
        raise ValueError(
            f"num_prompts is {num_prompts}, but the world has only {limit} questions; ask for at most {limit // 2}"
        )
    while len(prompts) < num_prompts:
        topic = TOPICS[len(prompts) % len(TOPICS)]
        hurry = generator.random() < HURRY_SHARE
        question = draw_question(topic, generator)
        if hurry:
            question += generator.choice(HURRIES)
        if question in prompts:
            continue
        prompts[question] = WorldPrompt(conversation(question, generator), topic, hurry)
    return list(prompts.values())


def draw_question(topic: str, generator: random.Random) -> str:
    """A question about a topic, in one of many wordings that do not matter."""
    return generator.choice(OPENINGS) + generator.choice(QUESTIONS).format(topic) + generator.choice(PLACES) + "?"


def conversation(question: str, generator: random.Random) -> str:
    """The prompt in canonical text: the question, now and then with a turn after it."""
    text = f"\n\nHuman: {question}\n\nAssistant:"
    if generator.random() < FOLLOW_UP_SHARE:
        text += f" sure, what is it?\n\nHuman: {generator.choice(FOLLOW_UPS)}\n\nAssistant:"
    return text
