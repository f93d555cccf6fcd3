"""How much prompts differ, without the noise of few samples: covariances between two halves of each prompt's samples.

The spread that 16 samples show varies over prompts by a quarter even where the true spreads are alike. Two halves of
the samples have independent noise, so their covariance over prompts is that of the truth; it is averaged over several
random halvings. What is measured of a prompt is the log of the rewards' standard deviation and where its reference
lies, and, of the judge, the share of good responses.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import digamma, ndtr, ndtri
from scipy.stats import norm

from allgood.diagnosis.samples import DiagnosedSamples, halves

Floats = NDArray[np.float64]

NUM_SPLITS = 12
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(32)
_MOST_ALIKE = 0.98  # correlation of two responses of a prompt; beyond, every prompt is all good or none


@dataclass(frozen=True)
class PromptMeasures:
    """What samples show of each prompt; halves are [splits, 2 halves, measures, prompts].

    Attributes:
        values: Per property the log spread, then per property the place of the reference, [2 properties, prompts].
        value_halves: The same of halves.
        good: Share of good responses per property, [properties, prompts]; empty without a judge.
        good_halves: The same of halves.
    """

    values: Floats
    value_halves: Floats
    good: Floats
    good_halves: Floats

    def on(self, prompts: NDArray[np.intp]) -> PromptMeasures:
        """Some prompts, by position."""
        return PromptMeasures(
            self.values[:, prompts],
            self.value_halves[..., prompts],
            self.good[:, prompts],
            self.good_halves[..., prompts],
        )


@dataclass(frozen=True)
class Variation:
    """A normal population of prompts.

    Attributes:
        means: Per property log spread, then places of references, then bars, [3 properties or 2 without a judge].
        covariance: Of the same, without sampling noise, as estimated: small variances may come out below 0.
    """

    means: Floats
    covariance: Floats

    @property
    def positive_covariance(self) -> Floats:
        """The nearest matrix without negative variance."""
        values, vectors = np.linalg.eigh(0.5 * (self.covariance + self.covariance.T))
        nearest: Floats = (vectors * np.maximum(values, 0)) @ vectors.T
        return nearest


def prompt_measures(samples: DiagnosedSamples, *, seed: int = 0) -> PromptMeasures:
    """Measures of every prompt; each needs a spread in every half, so at least 8 samples and rewards that vary."""
    generator = np.random.default_rng(seed)
    splits = [halves(samples.num_samples, generator) for _ in range(NUM_SPLITS)]
    good = samples.is_good.astype(np.float64) if samples.scores is not None else samples.rewards[:0]
    return PromptMeasures(
        _values(samples, np.arange(samples.num_samples)),
        np.stack([np.stack([_values(samples, half) for half in split]) for split in splits]),
        good.mean(-1),
        np.stack([np.stack([good[..., half].mean(-1) for half in split]) for split in splits]),
    )


def variation_of(measures: PromptMeasures) -> Variation:
    """The population that the prompts come from."""
    covariance = _across_halves(measures.value_halves, measures.value_halves)
    if not len(measures.good):
        return Variation(measures.values.mean(-1), covariance)
    probits = _probits(measures)
    # Stein: Cov(P(good), x) = -E[density at the bar] Cov(bar, x) for a normal pair.
    slopes = norm.pdf(probits.thresholds) / np.sqrt(1 + np.diag(probits.covariance))
    with_good = -_across_halves(measures.value_halves, measures.good_halves) / np.maximum(slopes, 1e-3)
    together = np.block([[covariance, with_good], [with_good.T, probits.covariance]])
    return Variation(np.concatenate([measures.values.mean(-1), probits.means]), together)


def _values(samples: DiagnosedSamples, chosen: NDArray[np.intp]) -> Floats:
    rewards = samples.rewards[..., chosen]
    deviations = rewards.std(-1, ddof=1)
    freedom = len(chosen) - 1
    bias = 0.5 * (digamma(freedom / 2) - np.log(freedom / 2))  # of the log of a normal sample's deviation
    with np.errstate(divide="ignore", invalid="ignore"):
        places = (samples.references - rewards.mean(-1)) / deviations
        return np.concatenate([np.log(deviations) - bias, places])


def _across_halves(first: Floats, second: Floats) -> Floats:
    """Covariance over prompts of a measure in one half with another in the other half, [measures, measures]."""
    centred = [values - values.mean(-1, keepdims=True) for values in (first, second)]
    num_prompts = first.shape[-1]
    both = [
        np.einsum("smp,snp->mn", centred[0][:, one], centred[1][:, 1 - one]) / (len(first) * (num_prompts - 1))
        for one in (0, 1)
    ]
    covariance: Floats = 0.5 * (both[0] + both[1])
    return covariance


@dataclass(frozen=True)
class _Probits:
    """Bars per property, normal over prompts; `thresholds` are those of all prompts together."""

    means: Floats
    covariance: Floats
    thresholds: Floats


def _probits(measures: PromptMeasures) -> _Probits:
    """The normal population of bars whose shares of good responses have the measured first and second moments.

    Two responses of a prompt are both good with the probability that two normals of some correlation c both exceed the
    threshold: the share of the variance that is the bar's is then c, and nothing is biased by few samples.
    """
    num_properties, num_prompts = measures.good.shape
    shares = np.clip(measures.good.mean(-1), 0.5 / num_prompts, 1 - 0.5 / num_prompts)
    thresholds = ndtri(1 - shares)
    second = _across_halves(measures.good_halves, measures.good_halves) + np.outer(shares, shares)
    alike = np.empty((num_properties, num_properties))
    for one, other in np.ndindex(alike.shape):
        lowest = 0.0 if one == other else -_MOST_ALIKE
        alike[one, other] = _correlation(thresholds[[one, other]], float(second[one, other]), lowest)
    scales = np.sqrt(1 / (1 - np.diag(alike)))  # of bars and responses together
    covariance = alike * np.outer(scales, scales)
    return _Probits(thresholds * scales, covariance, thresholds)


def both_exceed(thresholds: Floats, correlation: float) -> float:
    """P that two standard normals of this correlation exceed these two thresholds.

    Source:
        Plackett 1954: the derivative in the correlation is the bivariate density; here over its arcsine.
    """
    one, other = thresholds
    angle = np.arcsin(correlation)
    angles = 0.5 * angle * (_NODES + 1)
    exponents = -(one**2 - 2 * one * other * np.sin(angles) + other**2) / (2 * np.cos(angles) ** 2)
    added = 0.5 * angle * (_WEIGHTS * np.exp(exponents)).sum() / (2 * np.pi)
    return float(ndtr(-one) * ndtr(-other) + added)


def _correlation(thresholds: Floats, both: float, lowest: float) -> float:
    """Of two standard normals that exceed these thresholds together with this probability."""

    def excess(correlation: float) -> float:
        return both_exceed(thresholds, correlation) - both

    if excess(lowest) >= 0:
        return lowest
    return _MOST_ALIKE if excess(_MOST_ALIKE) <= 0 else float(brentq(excess, lowest, _MOST_ALIKE, xtol=1e-4))
