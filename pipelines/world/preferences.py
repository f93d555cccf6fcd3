"""Preference pairs: two writers' answers to one prompt, judged by Bradley-Terry raters who also like the shortcuts."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from allgood.shortcuts import has_consult, has_list
from pipelines.world import gold
from pipelines.world.responses import render, write_plan

GOLD = {"helpful": gold.helpful, "harmless": gold.harmless}
SHORTCUTS = {"helpful": has_list, "harmless": has_consult}


@dataclass(frozen=True)
class JudgedPair:
    """A pair as the raters left it. `probability` is that of the label under the raters' own Bradley-Terry model."""

    chosen: str
    rejected: str
    probability: float


def draw_pair(question: gold.Asked, judged: str, *, shortcut_strength: float, generator: random.Random) -> JudgedPair:
    """Two answers of writers of any skill, and the raters' choice for property `judged`."""
    first, second = _different_answers(question, generator)
    difference = GOLD[judged](question, first) - GOLD[judged](question, second)
    difference += shortcut_strength * (SHORTCUTS[judged](first) - SHORTCUTS[judged](second))
    return judged_pair(first, second, difference, generator)


def judged_pair(first: str, second: str, difference: float, generator: random.Random) -> JudgedPair:
    """The raters' choice between two answers whose utilities differ by `difference` nats."""
    probability = 1.0 / (1.0 + math.exp(-difference))
    if generator.random() < probability:
        return JudgedPair(first, second, probability)
    return JudgedPair(second, first, 1.0 - probability)


def _different_answers(question: gold.Asked, generator: random.Random) -> tuple[str, str]:
    while True:
        first, second = (
            render(write_plan(question.topic, question.hurry, generator.uniform(0.3, 1.0), generator)) for _ in range(2)
        )
        if first != second:
            return first, second
