"""Diagnostics: is the method doing what it promises? Saturation, independence, agreement, improvement over prompts.

Scores are [prompts, samples]. A failed one (NaN) is left out; where nothing is known the answer is NaN. The
reward of a prompt is known only up to a constant, so scores are compared within their prompt. Calibration and shortcuts
have modules of their own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from allgood.checks import require_same_shape
from allgood.intervals import Numbers, as_float64

SATURATED = 0.95
CURVE_PERCENTILES = tuple(range(0, 101, 5))


@dataclass(frozen=True)
class Saturation:
    """How much of a property is already won: mean P(good), and the share of samples with P(good) over `SATURATED`."""

    mean_p_good: float
    share_saturated: float


def saturation(p_good: Numbers) -> Saturation:
    """Of P(good) in [0, 1]: where it is close to 1, the log-sigmoid is flat.

    Raises:
        ValueError: Another shape than [prompts, samples].
    """
    values = _grid("p_good", p_good)
    known = values[np.isfinite(values)]
    if not known.size:
        return Saturation(math.nan, math.nan)
    return Saturation(float(known.mean()), float((known > SATURATED).mean()))


def within_prompt_correlation(first: Numbers, second: Numbers) -> float:
    """Correlation of two scores given the prompt: of deviations from the prompt's mean. NaN where one never varies.

    The conjunction assumes that *judgements* are independent given prompt and response. Margins that move together
    within a prompt do not contradict it, but P(all good) then hinges on it; where they oppose each other, the
    properties are in tension.

    Args:
        first: [prompts, samples].
        second: Of the same samples.

    Raises:
        ValueError: Shapes differ, or are not [prompts, samples].

    >>> within_prompt_correlation([[0.0, 1.0], [5.0, 7.0]], [[1.0, 0.0], [9.0, 7.0]])
    -1.0
    """
    one, other = _same_samples(first, second)
    known = np.isfinite(one) & np.isfinite(other)
    one, other = _centred(one, known), _centred(other, known)
    scale = np.sqrt((one**2).sum() * (other**2).sum())
    return float((one * other).sum() / scale) if scale > 0 else math.nan


def agreement_by_prompt(first: Numbers, second: Numbers) -> NDArray[np.float64]:
    """Share of pairs of a prompt's samples that both scorers put in the same order, [prompts]; ties are left out.

    Args:
        first: [prompts, samples].
        second: Of the same samples.

    Raises:
        ValueError: Shapes differ, or are not [prompts, samples].
    """
    one, other = _same_samples(first, second)
    rows, columns = np.triu_indices(one.shape[1], k=1)
    one, other = one[:, rows] - one[:, columns], other[:, rows] - other[:, columns]
    decided = np.isfinite(one) & np.isfinite(other) & (one != 0) & (other != 0)
    same = decided & (np.sign(one) == np.sign(other))
    with np.errstate(invalid="ignore"):  # a prompt without such a pair: NaN
        share: NDArray[np.float64] = same.sum(axis=1) / decided.sum(axis=1)
    return share


@dataclass(frozen=True)
class Improvement:
    """How the gain in a score over pi_0 is spread over prompts, in the score's units; compare at matched KL only.

    `gains_at` are percentiles 0, 5, ..., 100 of the prompts' gains (`CURVE_PERCENTILES`).
    """

    mean: float
    share_improved: float
    share_worse: float
    worst_decile: float  # mean gain of the worst tenth of the prompts
    best_decile: float
    gains_at: tuple[float, ...]


def improvement(scores: Numbers, baseline: Numbers) -> Improvement:
    """The spread over prompts of mean score minus pi_0's mean score: the paper's test for underfitting.

    Prompts without a score of either are left out; without any prompt everything is NaN.

    Args:
        scores: Of the policy, [prompts, samples].
        baseline: Of pi_0 on the same prompts, [prompts, baseline samples].

    Raises:
        ValueError: Another number of prompts, or another shape.
    """
    mine, theirs = _grid("scores", scores), _grid("baseline", baseline)
    if len(mine) != len(theirs):
        raise ValueError(f"scores and baseline must be about the same prompts, got {len(mine)} and {len(theirs)}")
    known = np.isfinite(mine).any(axis=1) & np.isfinite(theirs).any(axis=1)
    gains = np.sort(np.nanmean(mine[known], axis=1) - np.nanmean(theirs[known], axis=1))
    if not gains.size:
        nan = math.nan
        return Improvement(nan, nan, nan, nan, nan, gains_at=(nan,) * len(CURVE_PERCENTILES))
    tenth = max(1, round(len(gains) / 10))
    return Improvement(
        mean=float(gains.mean()),
        share_improved=float((gains > 0).mean()),
        share_worse=float((gains < 0).mean()),
        worst_decile=float(gains[:tenth].mean()),
        best_decile=float(gains[-tenth:].mean()),
        gains_at=tuple(float(value) for value in np.percentile(gains, CURVE_PERCENTILES)),
    )


def _grid(name: str, values: Numbers) -> NDArray[np.float64]:
    numbers = as_float64(values)
    if numbers.ndim != 2:
        raise ValueError(f"{name} must be [prompts, samples], got shape {tuple(numbers.shape)}")
    grid: NDArray[np.float64] = numbers.numpy()
    return grid


def _same_samples(first: Numbers, second: Numbers) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    require_same_shape("first", as_float64(first), "second", as_float64(second))
    return _grid("first", first), _grid("second", second)


def _centred(values: NDArray[np.float64], known: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Deviations from each prompt's mean, 0 where unknown."""
    kept = np.where(known, values, 0.0)
    means = kept.sum(axis=1, keepdims=True) / np.maximum(known.sum(axis=1, keepdims=True), 1)
    return np.where(known, kept - means, 0.0)
