"""Preference pairs by the run's objective, in the columns that TRL's `DPOTrainer` reads.

A prompt gives one pair: its best and its worst answer by the combined utility. `prompt`, `chosen` and `rejected` are
messages; the rest is what the run says of both, for whoever filters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.best_of_k.messages import asked, named, said, told
from pipelines.best_of_k.pool import Pool


@dataclass(frozen=True)
class Pairs:
    """One row per pair; `num_tied` prompts have answers that are all worth the same."""

    rows: list[dict[str, Any]]
    num_tied: int


def best_and_worst(pool: Pool, *, first: int | None, min_utility: float | None) -> Pairs:
    """The pairs of prompts with two scored answers or more among the first `first` (absent: all); the first of equals.

    With `min_utility` a prompt whose best answer lies below has no pair.
    """
    rows: list[dict[str, Any]] = []
    num_tied = 0
    for prompt, known in enumerate(pool.rows):
        considered: NDArray[np.int64] = known[:first]
        utilities = pool.judged.utilities[considered]
        if len(considered) < 2 or (min_utility is not None and utilities.max() < min_utility):
            continue
        if utilities.max() == utilities.min():
            num_tied += 1
            continue
        rows.append(_pair(pool, prompt, int(considered[utilities.argmax()]), int(considered[utilities.argmin()])))
    return Pairs(rows, num_tied)


def _pair(pool: Pool, prompt: int, best: int, worst: int) -> dict[str, Any]:
    utilities = pool.judged.utilities
    return {
        "prompt": asked(pool.judged.answers[prompt].prompt),
        "chosen": said(pool.response(best)),
        "rejected": said(pool.response(worst)),
        **named(pool, prompt),
        "utility_difference": float(utilities[best] - utilities[worst]),
        **told(pool, best, suffix=".chosen"),
        **told(pool, worst, suffix=".rejected"),
    }
