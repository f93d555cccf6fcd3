"""Preference pairs of the open world: two writers' answers to one prompt, judged by Bradley-Terry raters.

Raters see gold plus what they overrate: each rare phrase of the property adds some spreads, times the prompt's stakes.
"""

from __future__ import annotations

import random

from pipelines.world.open_world.answers import read, write_answer
from pipelines.world.open_world.gold import Asked, utility
from pipelines.world.open_world.points import Point
from pipelines.world.open_world.vocabulary import RARE
from pipelines.world.preferences import JudgedPair, judged_pair


def draw_pair(question: Asked, judged: str, point: Point, generator: random.Random) -> JudgedPair:
    """Two different answers, and the raters' choice for property `judged`."""
    first = write_answer(question.topic, generator)
    second = first
    while second == first:
        second = write_answer(question.topic, generator)
    difference = _rating(question, judged, first, point) - _rating(question, judged, second, point)
    return judged_pair(first, second, difference, generator)


def _rating(question: Asked, judged: str, response: str, point: Point) -> float:
    moves = set(read(response))
    overrated = sum(spreads for phrase, spreads in zip(RARE[judged], point.overrated, strict=True) if phrase in moves)
    return utility(question, judged, response) + question.topic.stakes[judged][question.ending] * overrated
