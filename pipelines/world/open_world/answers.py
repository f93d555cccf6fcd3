"""Answers of the open world: what a writer says, and what any text is read as.

An answer is a list of moves: `check valve, of course, oil hinge.` `read` finds the moves of any text, also of what a
policy makes up; what is no known move is one all the same, and belongs to no topic.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable
from functools import lru_cache

from pipelines.world.open_world.facts import Topic

_ENDS = re.compile(r"[,.;:!?\n]+")


def render(moves: Iterable[str]) -> str:
    """Put moves into words."""
    return ", ".join(moves) + "."


@lru_cache(maxsize=65536)  # every property reads each answer
def read(text: str) -> tuple[str, ...]:
    """The moves of a text in their order, repeated ones included."""
    return tuple(move for part in _ENDS.split(text) if (move := " ".join(part.split())))


def write_answer(topic: Topic, generator: random.Random) -> str:
    """A writer's answer: each move of the topic with its probability, in the world's order of moves; never nothing."""
    while True:
        moves = [move for move, share in topic.said.items() if generator.random() < share]
        if moves:
            return render(moves)
