"""A mean over prompts and its interval: bootstrap over prompts, because samples of one prompt resemble each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from allgood.resampling import resampled_means

LEVEL = 0.95

PerPrompt = NDArray[np.float64]
"""One value per prompt, [prompts]; NaN where the prompt has none."""


@dataclass(frozen=True)
class Estimate:
    """A mean over prompts with its 95 % bootstrap interval. `num_prompts` have a value; the others were left out."""

    value: float
    low: float
    high: float
    num_prompts: int

    @property
    def interval(self) -> tuple[float, float]:
        """(low, high)."""
        return self.low, self.high


def estimates(per_prompt: Mapping[str, PerPrompt], *, seed: int, num_bootstrap: int) -> dict[str, Estimate]:
    """One `Estimate` per entry. All entries are resampled with the same draws of prompts, so differences stay paired.

    Raises:
        ValueError: An entry is not [prompts], or no prompt has a value.
    """
    values = np.stack([np.asarray(column, dtype=np.float64) for column in per_prompt.values()], axis=1)  # [P, entries]
    known = np.isfinite(values)
    empty = [name for name, column in zip(per_prompt, known.T, strict=True) if not column.any()]
    if empty:
        raise ValueError(f"no prompt has a value of {empty[0]}; at least one is needed")
    draws = resampled_means(
        np.where(known, values, 0.0),
        known.astype(np.float64),
        generator=np.random.default_rng([seed, len(values)]),
        num_resamples=num_bootstrap,
    )
    tail = 50 * (1 - LEVEL)
    low, high = np.nanpercentile(draws, [tail, 100 - tail], axis=0)
    means = np.nansum(values, axis=0) / known.sum(axis=0)
    return {
        name: Estimate(float(means[i]), float(low[i]), float(high[i]), int(known[:, i].sum()))
        for i, name in enumerate(per_prompt)
    }


def known_estimates(per_prompt: Mapping[str, PerPrompt], *, seed: int, num_bootstrap: int) -> dict[str, Estimate]:
    """`estimates` of the entries for which some prompt has a value; the others are absent."""
    known = {name: column for name, column in per_prompt.items() if np.isfinite(column).any()}
    return estimates(known, seed=seed, num_bootstrap=num_bootstrap) if known else {}


def estimate(per_prompt: PerPrompt, *, seed: int, num_bootstrap: int) -> Estimate:
    """The `Estimate` of one value per prompt."""
    return estimates({"value": per_prompt}, seed=seed, num_bootstrap=num_bootstrap)["value"]
