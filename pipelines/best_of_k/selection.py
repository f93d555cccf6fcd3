"""The chosen responses, as rows that `data.demonstrations` of a run file reads: best-of-N and rejection sampling.

A prompt keeps its split where the loader can use it: SFT imitates the sft split and watches the validation split, so
answers to prompts of the reward and alignment splits are handed over as sft, and test stays test.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.answers.judged import judged_rows
from pipelines.best_of_k.pool import Pool

SFT_SPLITS = {"sft": "sft", "reward": "sft", "alignment": "sft", "validation": "validation", "test": "test"}


@dataclass(frozen=True)
class Selection:
    """One row per prompt kept; `num_below` prompts had no answer that is good enough, `num_single` had no choice."""

    rows: list[dict[str, Any]]
    num_below: int
    num_single: int


def select(pool: Pool, *, first: int | None, min_utility: float | None) -> Selection:
    """The best of each prompt's first `first` scored answers (absent: all) by utility; the first of equals.

    With `min_utility` a prompt whose best answer lies below is left out: rejection sampling.
    """
    utilities = pool.judged.utilities
    chosen: list[int] = []
    num_answers: list[int] = []
    num_below = 0
    for rows in pool.rows:
        considered = rows[:first]
        if len(considered) < 2:
            continue
        best = int(considered[utilities[considered].argmax()])
        if min_utility is not None and utilities[best] < min_utility:
            num_below += 1
            continue
        chosen.append(best)
        num_answers.append(len(considered))
    num_single = len(pool.rows) - len(chosen) - num_below
    rows_out = [
        _demonstration(row, count) for row, count in zip(judged_rows(pool.judged, chosen), num_answers, strict=True)
    ]
    return Selection(rows_out, num_below, num_single)


def _demonstration(row: dict[str, Any], num_answers: int) -> dict[str, Any]:
    split = {"split": SFT_SPLITS[row["split"]]} if "split" in row else {}
    return row | split | {"chosen_from": num_answers}


def num_rows_by_split(rows: Sequence[dict[str, Any]]) -> dict[str, int]:
    """How many rows each split has; empty where the data give none."""
    counts: dict[str, int] = {}
    for row in rows:
        if "split" in row:
            counts[row["split"]] = counts.get(row["split"], 0) + 1
    return counts
