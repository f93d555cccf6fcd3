"""The frontier of best-of-k: what the best of k answers by the run's utility is worth, for every k, with intervals.

One population of prompts stands behind the whole curve: those with at least `max_k` scored answers, each with its full
set, so that the curve does not change because the prompts do. Estimates are unbiased for every k (`allgood.best_of_k`);
intervals are bootstrap intervals over prompts, with the same resamples for all k.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from allgood.best_of_k import best_of_k_by_prompt, kl_bound, kl_estimate
from allgood.errors import DataError
from pipelines.evaluation.estimates import Estimate, known_estimates

Floats = NDArray[np.float64]
ALL_UP_TO = 16  # every k up to here is reported, then two to a doubling


@dataclass(frozen=True)
class Step:
    """Best-of-k for one k. `prompts_with_k` have at least k scored answers, whether or not they are in the curve."""

    k: int
    prompts_with_k: int
    kl_bound: float
    kl_estimate: float
    values: Mapping[str, Estimate]


@dataclass(frozen=True)
class Frontier:
    """All steps; `num_prompts` stand behind each."""

    num_prompts: int
    steps: Sequence[Step]


def frontier(
    scores: Sequence[Floats], values: Mapping[str, Sequence[Floats]], *, max_k: int, seed: int, num_bootstrap: int
) -> Frontier:
    """The frontier for k up to `max_k`.

    Args:
        scores: What best-of-k selects by, per prompt [answers]; numbers of answers may differ, all finite.
        values: What is reported, per quantity and prompt [answers]; a prompt with a NaN is left out of that quantity.
        max_k: At least 1, and at most the answers of some prompt.
        seed: Of the bootstrap.
        num_bootstrap: Resamples.
    """
    counts = np.array([len(row) for row in scores])
    members = np.flatnonzero(counts >= max_k).tolist()
    curve = [scores[index] for index in members]
    by_prompt = {
        name: best_of_every_k(curve, [rows[index] for index in members], max_k) for name, rows in values.items()
    }
    steps = []
    for k in k_grid(max_k):
        columns = {name: matrix[:, k - 1] for name, matrix in by_prompt.items()}
        found = known_estimates(columns, seed=seed, num_bootstrap=num_bootstrap)
        steps.append(Step(k, int((counts >= k).sum()), kl_bound(k), mean_kl(curve, k), found))
    return Frontier(len(members), steps)


def best_of_every_k(scores: Sequence[Floats], values: Sequence[Floats], max_k: int) -> Floats:
    """Expected value of the best of k by `scores` for every prompt, [prompts, max_k]; NaN where a value is missing."""
    found = np.full((len(scores), max_k), np.nan)
    for members in _groups(scores).values():  # prompts with equally many answers at once
        complete = [index for index in members if np.isfinite(values[index]).all()]
        if complete:
            grids = (torch.from_numpy(np.stack([rows[index] for index in complete])) for rows in (scores, values))
            found[complete] = best_of_k_by_prompt(*grids)[:, :max_k].numpy()
    return found


def mean_kl(scores: Sequence[Floats], k: int) -> float:
    """`kl_estimate` over prompts with different numbers of answers, in nats."""
    total = 0.0
    for members in _groups(scores).values():
        grid = torch.from_numpy(np.stack([scores[index] for index in members]))
        total += kl_estimate(grid, k) * len(members)
    return total / len(scores)


def k_grid(max_k: int) -> list[int]:
    """The k that are reported: all up to 16, then 24, 32, 48, 64, ..., and `max_k`."""
    grid = list(range(1, min(max_k, ALL_UP_TO) + 1))
    power = ALL_UP_TO
    while power < max_k:
        grid += [k for k in (power * 3 // 2, power * 2) if k < max_k]
        power *= 2
    return grid if grid[-1] == max_k else [*grid, max_k]


def default_max_k(counts: Sequence[int]) -> int:
    """The largest k that at least half of the prompts reach.

    Raises:
        DataError: That is 0. Some prompt must have a scored answer.
    """
    found = sorted(counts)[len(counts) // 2]
    if not found:
        scored = [count for count in counts if count]
        raise DataError(
            f"no k is reached by half of the prompts: {len(counts) - len(scored)} of {len(counts)} have no scored "
            f"answer, the others {min(scored)} to {max(scored)}; give --max-k for a curve of those, or score again "
            "what failed"
        )
    return found


def _groups(scores: Sequence[Floats]) -> dict[int, list[int]]:
    groups: dict[int, list[int]] = {}
    for index, row in enumerate(scores):
        groups.setdefault(len(row), []).append(index)
    return groups
