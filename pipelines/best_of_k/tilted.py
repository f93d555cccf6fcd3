"""Samples for SFT at a chosen KL: the optimum of E[u] - gamma * KL on each prompt's answers, as data.

Its weights, proportional to exp(u / gamma), are written twice, in the columns of TRL's `SFTTrainer`: as rows drawn by
them, which any trainer takes, and as answers with a `weight`, which `WeightedSFTTrainer` reads. SFT on either moves the
policy that gave the answers by about the chosen KL, as far as it can imitate them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from allgood.errors import ConfigError
from allgood.tilting import shows_its_kl, solve_gamma, tilt
from pipelines.best_of_k.messages import asked, named, said, told
from pipelines.best_of_k.pool import Pool

_LIGHT = 1e-3  # of an answer's equal share: lighter answers are left out, and together weigh less than that


@dataclass(frozen=True)
class Tilting:
    """What is asked for: the mean KL over prompts in nats, and how many rows are drawn per prompt."""

    kl: float
    rows_per_prompt: int = 8


@dataclass(frozen=True)
class Tilted:
    """The optimum as rows.

    Attributes:
        kl: What was asked for, mean over prompts in nats.
        gamma: The KL coefficient that gives it.
        reliable: False where half of the answers show a KL more than 5 % lower: then all of them read too low as well.
        effective_sample_size: Mean over prompts, in answers.
        drawn: Rows drawn by the weights, `rows_per_prompt` for each prompt.
        weighted: Answers with their `weight`, 1 on average over all rows and the same sum for each prompt.
    """

    kl: float
    gamma: float
    reliable: bool
    effective_sample_size: float
    drawn: list[dict[str, Any]]
    weighted: list[dict[str, Any]]


def tilted(pool: Pool, tilting: Tilting, *, first: int | None, seed: int) -> Tilted:
    """Tilt the first `first` scored answers (absent: all) of each prompt that has two or more.

    Raises:
        ConfigError: The answers cannot show that KL.
    """
    considered = {prompt: rows[:first] for prompt, rows in enumerate(pool.rows) if len(rows[:first]) > 1}
    groups = _by_size(considered)
    grids = [torch.from_numpy(np.stack([_utilities(pool, considered[prompt]) for prompt in group])) for group in groups]
    try:
        gamma = solve_gamma(grids, tilting.kl)
    except ValueError as error:
        raise ConfigError(f"--tilt-kl: {error}") from None
    optima = [tilt(grid, gamma) for grid in grids]
    weights = {
        prompt: found.weights[index].numpy()
        for group, found in zip(groups, optima, strict=True)
        for index, prompt in enumerate(group)
    }
    generator = np.random.default_rng(seed)
    return Tilted(
        kl=tilting.kl,
        gamma=gamma,
        reliable=shows_its_kl(*(torch.cat(kl) for kl in zip(*((t.kl, t.half_sample_kl) for t in optima), strict=True))),
        effective_sample_size=float(torch.cat([found.effective_sample_size for found in optima]).mean()),
        drawn=[
            _row(pool, prompt, int(considered[prompt][index]))
            for prompt in considered
            for index in drawn_by(weights[prompt], tilting.rows_per_prompt, generator)
        ],
        weighted=_weighted(pool, considered, weights),
    )


def _weighted(
    pool: Pool, considered: Mapping[int, NDArray[np.int64]], weights: Mapping[int, NDArray[np.float64]]
) -> list[dict[str, Any]]:
    kept = {prompt: np.flatnonzero(values * len(values) >= _LIGHT) for prompt, values in weights.items()}
    share = sum(len(indices) for indices in kept.values()) / len(kept)  # of each prompt in the sum of all weights
    rows = []
    for prompt, of_prompt in considered.items():
        values = weights[prompt][kept[prompt]]
        for index, weight in zip(kept[prompt], values / values.sum() * share, strict=True):
            rows.append(_row(pool, prompt, int(of_prompt[index])) | {"weight": float(weight)})
    return rows


def drawn_by(weights: NDArray[np.float64], count: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """Indices drawn by systematic resampling, ascending: each count * weight times, rounded down or up.

    >>> drawn_by(np.array([0.5, 0.0, 0.5]), 4, np.random.default_rng(0))
    array([0, 0, 2, 2])
    """
    positions = (np.arange(count) + generator.random()) / count
    ends = np.cumsum(weights)
    return np.searchsorted(ends / ends[-1], positions, side="right")


def _by_size(considered: dict[int, NDArray[np.int64]]) -> list[list[int]]:
    groups: dict[int, list[int]] = {}
    for prompt, rows in considered.items():
        groups.setdefault(len(rows), []).append(prompt)
    return list(groups.values())


def _utilities(pool: Pool, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    return pool.judged.utilities[rows].astype(np.float64)


def _row(pool: Pool, prompt: int, row: int) -> dict[str, Any]:
    return {
        "prompt": asked(pool.judged.answers[prompt].prompt),
        "completion": said(pool.response(row)),
        **named(pool, prompt),
        **told(pool, row),
    }
