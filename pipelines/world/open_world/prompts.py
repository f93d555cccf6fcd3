"""Prompts of the open world: a question about one topic, and an ending that says how much depends on the answer."""

from __future__ import annotations

import random

from pipelines.world.open_world.vocabulary import STAKES, TOPICS
from pipelines.world.prompts import conversation, draw_question


def draw_prompts(num_prompts: int, generator: random.Random) -> list[str]:
    """Distinct prompts in canonical text with distinct first turns, topics and endings equally often."""
    prompts: dict[str, str] = {}
    while len(prompts) < num_prompts:
        rank = len(prompts)
        topic, ending = TOPICS[rank % len(TOPICS)], STAKES[rank // len(TOPICS) % len(STAKES)]
        question = draw_question(topic, generator) + ending
        if question not in prompts:
            prompts[question] = conversation(question, generator)
    return list(prompts.values())
