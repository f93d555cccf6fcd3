"""How well predictions order and size what training reaches: rank correlation within target KLs, spread against noise.

Arrays are [targets, settings, prompts]. Gamma alone sorts KL, so a correlation across target KLs proves nothing: ranks
are taken among the settings of one target, and pooled after that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.stats
from numpy.typing import NDArray

from allgood.diagnostics import within_prompt_correlation

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Bootstrapped:
    """A number with its 95 % interval from resampled prompts and settings."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Spread:
    """How different the settings of one target truly are, against how well that is known.

    `spread` is the standard deviation over settings of the achieved gold win rate, `noise` the one that resampled
    prompts alone would give to settings of one true rate; `reliability` is the share of the variance that is not noise.
    No prediction could correlate with the achieved rates better than its root.
    """

    spread: float
    noise: float
    reliability: float


def rank_correlation(predicted: Floats, achieved: Floats) -> float:
    """Spearman within each target, pooled: the correlation of ranks, each centred on its target's mean rank.

    Args:
        predicted: [targets, settings].
        achieved: [targets, settings].

    Returns:
        In [-1, 1]; NaN when all settings of every target share one value.
    """
    return within_prompt_correlation(*(scipy.stats.rankdata(side, axis=1) for side in (predicted, achieved)))


def bootstrapped_correlation(
    predicted: Floats, achieved: Floats, *, num_resamples: int, seed: int = 0, resample_settings: bool = True
) -> Bootstrapped:
    """`rank_correlation` of the means over prompts, with prompts resampled for both sides, settings for all targets.

    Args:
        predicted: [targets, settings, prompts].
        achieved: The same.
        num_resamples: How often.
        seed: Of the resampling.
        resample_settings: False keeps the settings as they are, and resamples prompts alone.
    """
    generator = np.random.default_rng(seed)
    num_settings, num_prompts = predicted.shape[1:]
    found = []
    for _ in range(num_resamples):
        prompts = generator.integers(num_prompts, size=num_prompts)
        settings = generator.integers(num_settings, size=num_settings) if resample_settings else np.arange(num_settings)
        chosen = [side[:, settings][:, :, prompts].mean(-1) for side in (predicted, achieved)]
        found.append(rank_correlation(*chosen))
    low, high = np.nanpercentile(found, [2.5, 97.5])  # NaN: one setting drawn every time
    return Bootstrapped(rank_correlation(predicted.mean(-1), achieved.mean(-1)), float(low), float(high))


def spread_of(achieved: Floats, *, num_resamples: int, seed: int = 0) -> Spread:
    """Of one target: `achieved` is [settings, prompts]."""
    generator = np.random.default_rng(seed)
    num_settings, num_prompts = achieved.shape
    draws = np.stack(
        [achieved[:, generator.integers(num_prompts, size=num_prompts)].mean(-1) for _ in range(num_resamples)]
    )  # [resamples, settings]
    # A difference to the mean of n settings has (n - 1) / n of their variance: divided by n - 1, like the spread.
    noise = float(np.sqrt((draws - draws.mean(1, keepdims=True)).var(0).sum() / (num_settings - 1)))
    spread = float(achieved.mean(-1).std(ddof=1))
    reliability = max(0.0, 1 - noise**2 / spread**2) if spread > 0 else 0.0
    return Spread(spread, noise, reliability)


def grid_of(entries: Sequence[Mapping[str, Any]], side: str, metric: str) -> Floats:
    """[targets, settings, prompts] of complete results; settings and targets in order of appearance.

    Raises:
        ValueError: A setting lacks a target that another has.
    """
    targets = sorted({float(entry["target_kl"]) for entry in entries})
    settings = list(dict.fromkeys(entry["setting"] for entry in entries))
    found = {(entry["target_kl"], entry["setting"]): entry[side]["by_prompt"][metric] for entry in entries}
    missing = [(target, setting) for target in targets for setting in settings if (target, setting) not in found]
    if missing:
        raise ValueError(f"setting {missing[0][1]} has no result at {missing[0][0]:g} nats; run the check to its end")
    return np.array([[found[target, setting] for setting in settings] for target in targets], dtype=np.float64)
