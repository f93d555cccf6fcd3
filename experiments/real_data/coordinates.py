"""Where reward models lie on the map: spreads within prompts, how they differ, and correlations given the prompt.

Everything is measured on [prompts, answers] grids, NaN where a prompt has no more answers. Intervals are 95 %
percentile intervals from resampled prompts. A spread is a standard deviation over a prompt's answers. Spreads differ
between prompts partly by chance: halves of each prompt's answers, whose chance is independent, remove that part.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import digamma, ndtri

from allgood.diagnostics import within_prompt_correlation

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]
Statistic = Callable[[Indices], float]

NUM_RESAMPLES = 1000
NUM_SPLITS = 40  # of each prompt's answers into halves


@dataclass(frozen=True)
class Spreads:
    """Logs of spreads within prompts, in nats, of one score.

    Attributes:
        log_spread: [prompts], without the bias of few answers; NaN where answers all have one score.
        halves: The same of random halves of the answers, [2, splits, prompts].
    """

    log_spread: Floats
    halves: Floats

    @staticmethod
    def of(scores: Floats, *, seed: int) -> Spreads:
        """The spreads of scores [prompts, answers]; the same seed halves the answers of other scores alike."""
        generator = np.random.default_rng(seed)
        halves = np.empty((2, NUM_SPLITS, len(scores)))
        for split in range(NUM_SPLITS):
            order = np.argsort(np.where(np.isnan(scores), np.inf, generator.random(scores.shape)), axis=1)
            shuffled = np.take_along_axis(scores, order, axis=1)  # NaN last
            middle = (~np.isnan(scores)).sum(1) // 2
            is_first = np.arange(scores.shape[1]) < middle[:, None]
            for half, kept in enumerate((is_first, ~is_first)):
                halves[half, split] = _log_spread(np.where(kept, shuffled, np.nan))
        return Spreads(_log_spread(scores), halves)

    def typical(self, prompts: Indices) -> float:
        """The geometric mean over prompts, in nats."""
        return float(np.exp(np.nanmean(self.log_spread[prompts])))

    def median(self, prompts: Indices) -> float:
        """Over prompts, in nats; prompts without spread count as 0."""
        return float(np.exp(np.nanmedian(np.nan_to_num(self.log_spread[prompts], nan=-np.inf))))

    def sigma(self, prompts: Indices) -> float:
        """Standard deviation over prompts of the log of the true spread."""
        return float(np.sqrt(max(0.0, shared_variance(self, self, prompts))))

    def ratio(self, prompts: Indices) -> float:
        """The 90 % over the 10 % quantile of the true spread, if it is log-normal over prompts."""
        return float(np.exp(2 * ndtri(0.9) * self.sigma(prompts)))

    def uncorrected_ratio(self, prompts: Indices) -> float:
        """The same of the spreads as they were measured, chance included."""
        low, high = np.nanquantile(self.log_spread[prompts], [0.1, 0.9])
        return float(np.exp(high - low))


def shared_variance(first: Spreads, second: Spreads, prompts: Indices) -> float:
    """Covariance over prompts of the logs of two scores' true spreads: of halves that share no answer."""
    one, other = first.halves[0][:, prompts], second.halves[1][:, prompts]
    known = np.isfinite(one) & np.isfinite(other)
    product = _centred(one, known) * _centred(other, known)
    return float((np.nansum(product, axis=1) / (known.sum(1) - 1)).mean())


def sigma_between_prompts(first: Spreads, second: Spreads, prompts: Indices) -> float:
    """Of the factor that both properties' spreads share on a prompt; 0 where wide spreads avoid each other."""
    return float(np.sqrt(max(0.0, shared_variance(first, second, prompts))))


def sigma_by_property(first: Spreads, second: Spreads, prompts: Indices) -> float:
    """Of each property's own factor on a prompt, on average of the two."""
    own = 0.5 * (shared_variance(first, first, prompts) + shared_variance(second, second, prompts))
    return float(np.sqrt(max(0.0, own - max(0.0, shared_variance(first, second, prompts)))))


def correlation(first: Floats, second: Floats) -> Statistic:
    """Of two scores within prompts."""
    return lambda prompts: within_prompt_correlation(first[prompts], second[prompts])


def partial_correlation(first: Floats, second: Floats, given: Floats) -> Statistic:
    """Of two scores within prompts, after what a straight line in a third explains of either within prompts."""

    def statistic(prompts: Indices) -> float:
        return within_prompt_correlation(
            without(first[prompts], given[prompts]), without(second[prompts], given[prompts])
        )

    return statistic


def without(scores: Floats, given: Floats) -> Floats:
    """Scores minus their regression within prompts, one slope for all prompts, on another score."""
    known = np.isfinite(scores) & np.isfinite(given)
    own, other = _centred(scores, known), _centred(given, known)
    slope = np.nansum(own * other) / np.nansum(other**2)
    left: Floats = own - slope * other
    return left


def reach(scores: Floats, q: float) -> Statistic:
    """How far the best of a prompt's answers lies above their q quantile, in spreads, on average over prompts."""
    deviation = np.nanstd(scores, axis=1, ddof=1)
    height = np.nanmax(scores, axis=1) - np.nanquantile(scores, q, axis=1)
    above = height / np.where(deviation > 0, deviation, np.nan)
    return lambda prompts: float(np.nanmean(above[prompts]))


def share_of_authors(scores: Floats, authors: NDArray[np.int64]) -> Statistic:
    """Share of the variance within prompts that the models' own means explain; what each model is like on average.

    `authors` [prompts, answers] numbers the model that wrote an answer, -1 where there is none.
    """

    def statistic(prompts: Indices) -> float:
        known = np.isfinite(scores[prompts])
        own, by = _centred(scores[prompts], known), authors[prompts]
        sums, counts = np.zeros(authors.max() + 1), np.zeros(authors.max() + 1)
        np.add.at(sums, by[known], own[known])
        np.add.at(counts, by[known], 1)
        means = sums / np.maximum(counts, 1)
        left = np.where(known, own - means[by], np.nan)
        return float(1 - np.nansum(_centred(left, known) ** 2) / np.nansum(own**2))

    return statistic


def interval(statistic: Statistic, num_prompts: int, *, seed: int) -> dict[str, float]:
    """value, low, high of a statistic of prompts."""
    drawn = [statistic(prompts) for prompts in resamples(num_prompts, seed=seed)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return {"value": statistic(np.arange(num_prompts)), "low": float(low), "high": float(high)}


def resamples(num_prompts: int, *, seed: int, num: int = NUM_RESAMPLES) -> list[Indices]:
    """Prompts drawn with replacement, the same for every statistic."""
    generator = np.random.default_rng(seed)
    return [generator.integers(0, num_prompts, num_prompts) for _ in range(num)]


def intervals(statistics: Mapping[str, Statistic], num_prompts: int, *, seed: int) -> dict[str, dict[str, float]]:
    """The intervals of several statistics."""
    return {name: interval(statistic, num_prompts, seed=seed) for name, statistic in statistics.items()}


def _log_spread(scores: Floats) -> Floats:
    """[prompts]: log standard deviation over answers, plus what normal scores of so few would lack."""
    freedom = (~np.isnan(scores)).sum(1) - 1
    expected = 0.5 * (digamma(freedom / 2) - np.log(freedom / 2))
    deviation = np.nanstd(scores, axis=1, ddof=1)
    spread: Floats = np.log(np.where(deviation > 0, deviation, np.nan)) - expected
    return spread


def _centred(scores: Floats, known: NDArray[np.bool_]) -> Floats:
    kept = np.where(known, scores, np.nan)
    centred: Floats = kept - np.nanmean(kept, axis=1, keepdims=True)
    return centred
