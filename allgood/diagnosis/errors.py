"""How a reward model disagrees with a judge within prompts: how far, with which tail, and how often it overrates.

On every prompt rewards are a straight line in the judge's scores plus an error. The line is fitted without outliers, so
that one overrated answer among 16 does not hide itself by moving the line and widening the scale.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

OVERRATED_FROM = 2.0
"""Spreads above what the judge's score predicts, from which on an answer may count as overrated."""
_SURPRISING = 3.0  # standard deviations of the errors, from which an answer may count as overrated
_OUTLIER = 4.5  # robust ones, from which a sample has no part in the line: of normal errors next to none
_MAD_TO_DEVIATION = 1.4826
_LEAST_SPREAD = 0.2  # of the scores, that is left without outliers
_LEAST_SHARE = 0.05  # of a spread: below, an error is nothing


@dataclass(frozen=True)
class Disagreement:
    """Errors of one property's reward model.

    Attributes:
        l_moments: Second and fourth L-moments of the errors on each prompt, [2, prompts], in nats.
        correlation: Of reward and judge on each prompt, without outliers, [prompts]; NaN where either never varies.
        over: Answers above the line by more than the threshold, per prompt, [prompts].
        under: The same below it.
        threshold: In spreads of gold.
        ties: Share of the neighbouring scores of a prompt, in order, that are equal.
    """

    l_moments: Floats
    correlation: Floats
    over: Floats
    under: Floats
    threshold: float
    ties: float


def disagreement(rewards: Floats, scores: Floats) -> Disagreement:
    """Of rewards and a judge's scores, [prompts, samples]."""
    inside = _inside(rewards, scores)
    slopes, intercepts = _lines(rewards, scores, inside)
    errors = rewards - slopes[:, None] * scores - intercepts[:, None]
    correlation = _correlations(rewards, scores, inside)
    agreement = min(max(float(np.nanmean(correlation)), 0.05), 1.0) if np.isfinite(correlation).any() else 0.05
    noise = np.sqrt(1 / agreement**2 - 1)
    threshold = float(max(OVERRATED_FROM, _SURPRISING * noise))
    spread = agreement * _deviations(rewards, inside)  # of what the judge explains, in nats
    return Disagreement(
        l_moments(errors),
        correlation,
        (errors > threshold * spread[:, None]).sum(-1).astype(np.float64),
        (errors < -threshold * spread[:, None]).sum(-1).astype(np.float64),
        threshold,
        float((np.diff(np.sort(scores, axis=-1), axis=-1) == 0).mean()),
    )


def l_moments(values: Floats) -> Floats:
    """Second and fourth sample L-moments of each row of [rows, samples], [2, rows]; at least 4 samples.

    Unbiased for every number of samples, so that ratios of their means over prompts are not bent by short rows, and
    they exist where a variance does not.

    Source:
        Hosking 1990, L-moments: analysis and estimation of distributions using linear combinations of order statistics.

    >>> l_moments(np.array([[1.0, 2.0, 3.0, 4.0]])).round(3).tolist()
    [[0.833], [0.0]]
    """
    ordered = np.sort(values, axis=-1)
    num = ordered.shape[-1]
    rank = np.arange(num)
    b0 = ordered.mean(-1)
    b1 = (ordered * rank).sum(-1) / (num * (num - 1))
    b2 = (ordered * rank * (rank - 1)).sum(-1) / (num * (num - 1) * (num - 2))
    b3 = (ordered * rank * (rank - 1) * (rank - 2)).sum(-1) / (num * (num - 1) * (num - 2) * (num - 3))
    found: Floats = np.stack([2 * b1 - b0, 20 * b3 - 30 * b2 + 12 * b1 - b0])
    return found


def l_kurtosis(moments: Floats) -> float:
    """Ratio of the mean fourth to the mean second L-moment, [2, prompts]: 0.123 normal, 0.236 Laplace, 0.261 t(3)."""
    second, fourth = moments.mean(-1)
    return float(fourth / second) if second > 0 else float("nan")


def _inside(rewards: Floats, scores: Floats) -> NDArray[np.bool_]:
    """Samples that are no outliers of their prompt's first line."""
    everything = np.ones(rewards.shape, dtype=np.bool_)
    slopes, intercepts = _lines(rewards, scores, everything)
    errors = rewards - slopes[:, None] * scores - intercepts[:, None]
    errors -= np.median(errors, axis=-1, keepdims=True)
    fitted = rewards.shape[-1] / (rewards.shape[-1] - 2)  # a line through few samples comes too close to them
    scale = _MAD_TO_DEVIATION * fitted**0.5 * np.median(abs(errors), axis=-1, keepdims=True)
    least = _LEAST_SHARE * rewards.std(-1, keepdims=True)
    inside: NDArray[np.bool_] = abs(errors) <= _OUTLIER * np.maximum(scale, least)
    # Scores of few distinct values: without the outliers they may not vary any more, and there would be no line.
    flat = _deviations(scores, inside) < _LEAST_SPREAD * scores.std(-1)
    inside |= flat[:, None]
    # Median deviations are noisy: with the deviation of what is left, a normal sample that went comes back.
    slopes, intercepts = _lines(rewards, scores, inside)
    errors = rewards - slopes[:, None] * scores - intercepts[:, None]
    again = np.maximum(fitted**0.5 * _deviations(errors, inside)[:, None], least)
    kept: NDArray[np.bool_] = (abs(errors) <= _OUTLIER * again) | flat[:, None]
    return kept


def _lines(rewards: Floats, scores: Floats, inside: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Slope and intercept of each prompt, [prompts]; no slope where scores do not vary."""
    weights = inside / inside.sum(-1, keepdims=True)
    mean_reward, mean_score = (weights * rewards).sum(-1), (weights * scores).sum(-1)
    centred = scores - mean_score[:, None]
    variance = (weights * centred**2).sum(-1)
    covariance = (weights * centred * rewards).sum(-1)
    slopes = np.divide(covariance, variance, out=np.zeros_like(variance), where=variance > 0)
    return slopes, mean_reward - slopes * mean_score


def _deviations(values: Floats, inside: NDArray[np.bool_]) -> Floats:
    weights = inside / inside.sum(-1, keepdims=True)
    centred = values - (weights * values).sum(-1, keepdims=True)
    deviations: Floats = np.sqrt((weights * centred**2).sum(-1))
    return deviations


def _correlations(first: Floats, second: Floats, inside: NDArray[np.bool_]) -> Floats:
    """Of each prompt, without the bias of few samples (Olkin and Pratt, to first order)."""
    weights = inside / inside.sum(-1, keepdims=True)
    one, other = (values - (weights * values).sum(-1, keepdims=True) for values in (first, second))
    covariance = (weights * one * other).sum(-1)
    scale = np.sqrt((weights * one**2).sum(-1) * (weights * other**2).sum(-1))
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = covariance / scale
    corrected: Floats = correlation * (1 + (1 - correlation**2) / (2 * (inside.sum(-1) - 3)))
    return corrected


def within_prompt_correlations(first: Floats, second: Floats) -> Floats:
    """Correlation of two scores [prompts, samples] on each prompt, [prompts]; NaN where one does not vary."""
    return _correlations(first, second, np.ones(first.shape, dtype=np.bool_))
