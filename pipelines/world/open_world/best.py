"""The scripted best answer of the open world: the moves of a topic that lift all properties at once."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pipelines.world.open_world.answers import render
from pipelines.world.open_world.facts import Topic
from pipelines.world.open_world.gold import quality

_SHARPNESS = 3.0  # per spread: a sharp minimum has hills that no single move leaves


def best_answer(topic: Topic, properties: Sequence[str]) -> str:
    """An answer that no single move more or less makes better, where the worst properties count most.

    The search starts from the moves that are worth something in sum, and changes one move at a time.
    """
    moves = {move for move in topic.own if sum(topic.values[judged].get(move, 0.0) for judged in properties) > 0.0}
    best = _soft_minimum(topic, properties, moves)
    while True:
        tried = {move: _soft_minimum(topic, properties, moves ^ {move}) for move in sorted(topic.own)}
        move = max(tried, key=lambda one: tried[one])
        if tried[move] <= best:
            return render(sorted(moves))
        moves, best = moves ^ {move}, tried[move]


def _soft_minimum(topic: Topic, properties: Sequence[str], moves: set[str]) -> float:
    answer = render(sorted(moves))
    return -math.log(math.fsum(math.exp(-_SHARPNESS * quality(topic, judged, answer)) for judged in properties))
