"""Intervals: bootstrap over prompts for everything measured on prompts, t over seeds.

Samples of one prompt are alike, so the prompt is what is resampled, with all its samples.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.stats
import torch
from numpy.typing import NDArray
from torch import Tensor

from allgood.checks import require_finite
from allgood.number_checks import Number, require_open_unit
from allgood.resampling import resampled_means

Numbers = Tensor | NDArray[np.floating] | Sequence[Number] | Sequence[Sequence[Number]]
"""What measurements may come as: a tensor, an array, or nested lists."""


@dataclass(frozen=True)
class Interval:
    """A value between the ends of its confidence interval; NaN ends where one observation shows no spread."""

    value: float
    low: float
    high: float
    standard_error: float
    confidence: float = 0.95


def cluster_bootstrap(
    values: Numbers, *, seed: int | torch.Generator, num_resamples: int = 2000, confidence: Number = 0.95
) -> Interval:
    """Mean over prompts of the mean over samples, with the percentile interval from resampled prompts.

    Args:
        values: [prompts, samples], or [prompts] when already averaged.
        seed: A number, or a CPU generator that is advanced.
        num_resamples: Bootstrap resamples, at least 1.
        confidence: In (0, 1).

    Returns:
        The interval; a single prompt has no spread to show, and its ends are NaN.

    Raises:
        ValueError: Another shape, no prompt, or a value is not finite (drop what failed, and count it).
    """
    by_prompt = prompt_means("values", values)
    confidence = require_open_unit("confidence", confidence)
    if num_resamples < 1:
        raise ValueError(f"num_resamples must be at least 1, got {num_resamples}")
    value = float(by_prompt.mean())
    if len(by_prompt) == 1:
        return Interval(value, math.nan, math.nan, math.nan, confidence)
    sums = by_prompt.numpy()[:, None]
    means = resampled_means(sums, np.ones_like(sums), generator=_generator(seed), num_resamples=num_resamples)[:, 0]
    low, high = np.quantile(means, [0.5 - confidence / 2, 0.5 + confidence / 2])
    return Interval(value, float(low), float(high), float(means.std()), confidence)


def t_interval(values: Numbers, *, confidence: Number = 0.95) -> Interval:
    """Mean of independent repetitions (seeds) with Student's t interval.

    Args:
        values: [repetitions], at least 2.
        confidence: In (0, 1).

    Raises:
        ValueError: Fewer than 2 repetitions, another shape, or a value is not finite.
    """
    numbers = as_float64(values)
    if numbers.ndim != 1 or len(numbers) < 2:
        raise ValueError(f"values must be [repetitions] with at least 2, got shape {tuple(numbers.shape)}")
    require_finite("values", numbers)
    error = float(numbers.std()) / math.sqrt(len(numbers))
    t = float(scipy.stats.t.ppf(0.5 + require_open_unit("confidence", confidence) / 2, len(numbers) - 1))
    value = float(numbers.mean())
    return Interval(value, value - t * error, value + t * error, error, confidence)


def smallest_detectable(
    standard_error: Number, num_repetitions: int, *, power: Number = 0.8, alpha: Number = 0.05
) -> float:
    """The smallest true difference that a two-sided t test over `num_repetitions` would find with this power.

    Raises:
        ValueError: A negative standard error, fewer than 2 repetitions, or power or alpha outside (0, 1).
    """
    if not (math.isfinite(standard_error) and standard_error >= 0):
        raise ValueError(f"standard_error must be finite and at least 0, got {standard_error}")
    if num_repetitions < 2:
        raise ValueError(f"num_repetitions must be at least 2, got {num_repetitions}")
    require_open_unit("power", power)
    freedom = num_repetitions - 1
    critical = scipy.stats.t.ppf(1 - require_open_unit("alpha", alpha) / 2, freedom)
    return float((critical + scipy.stats.t.ppf(power, freedom)) * standard_error)


def prompt_means(name: str, values: Numbers) -> Tensor:
    """Mean over samples per prompt, [prompts] float64, checked."""
    numbers = as_float64(values)
    if numbers.ndim not in (1, 2) or numbers.numel() == 0:
        raise ValueError(f"{name} must be non-empty, [prompts, samples] or [prompts], got shape {tuple(numbers.shape)}")
    require_finite(name, numbers)
    return numbers if numbers.ndim == 1 else numbers.mean(-1)


def as_float64(values: Numbers) -> Tensor:
    """Measurements as a float64 tensor on the CPU, without gradient."""
    if isinstance(values, np.ndarray) and not values.flags.writeable:  # as from a table; torch warns of sharing these
        values = np.array(values)
    return torch.as_tensor(values, dtype=torch.float64).detach().cpu()


def _generator(seed: int | torch.Generator) -> np.random.Generator:
    if isinstance(seed, torch.Generator):
        seed = int(torch.randint(2**62, (1,), generator=seed))
    return np.random.default_rng(seed)
