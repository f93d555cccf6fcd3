"""The coordinates of a run on the map, from statistics of every prompt, corrected for sampling noise."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from allgood.diagnosis.errors import Disagreement, disagreement, l_kurtosis, within_prompt_correlations
from allgood.diagnosis.room import ceiling_of, excess
from allgood.diagnosis.samples import DiagnosedSamples
from allgood.diagnosis.variation import PromptMeasures, Variation, prompt_measures, variation_of
from allgood.intervals import Interval

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Statistics:
    """Everything that coordinates are made of, prompt by prompt.

    Attributes:
        names: Of the properties.
        num_samples: Per prompt.
        measures: Spreads, references and shares of good responses.
        correlations: Of rewards within the prompt, per pair of properties, [pairs, prompts].
        judge_correlations: Of the judge's scores; empty without a judge.
        disagreements: Per property; empty without a judge.
        excess: Sum over good responses of their excess over the bar, in spreads, [properties, prompts].
    """

    names: tuple[str, ...]
    num_samples: int
    measures: PromptMeasures
    correlations: Floats
    judge_correlations: Floats
    disagreements: tuple[Disagreement, ...]
    excess: Floats

    @property
    def num_prompts(self) -> int:
        """Prompts."""
        return int(self.measures.values.shape[-1])

    def on(self, prompts: NDArray[np.intp]) -> Statistics:
        """Some prompts, by position."""
        return Statistics(
            self.names,
            self.num_samples,
            self.measures.on(prompts),
            self.correlations[:, prompts],
            self.judge_correlations[:, prompts],
            tuple(
                Disagreement(
                    found.l_moments[:, prompts],
                    found.correlation[prompts],
                    found.over[prompts],
                    found.under[prompts],
                    found.threshold,
                    found.ties,
                )
                for found in self.disagreements
            ),
            self.excess[:, prompts],
        )

    def resamples(self, num: int, *, seed: int = 0) -> list[Statistics]:
        """As many prompts drawn with replacement, `num` times."""
        generator = np.random.default_rng(seed)
        return [self.on(generator.integers(self.num_prompts, size=self.num_prompts)) for _ in range(num)]


@dataclass(frozen=True)
class Point:
    """Coordinates without their intervals.

    Attributes:
        variation: Of prompts.
        correlations: Of rewards within prompts, [pairs].
        judge_correlations: Of the judge's scores, [pairs].
        agreement: Correlation within prompts of reward and judge, [properties].
        l_kurtosis: Of the errors, [properties].
        overrated: Share of answers that are overrated less those underrated, [properties].
        room: Mean excess of good responses over the bar, in spreads, [properties].
        ceilings: Where gold ends, in spreads above the bar; infinite where no end shows, [properties].
    """

    variation: Variation
    correlations: Floats
    judge_correlations: Floats
    agreement: Floats
    l_kurtosis: Floats
    overrated: Floats
    room: Floats
    ceilings: Floats

    @property
    def num_properties(self) -> int:
        """K."""
        return len(self.variation.means) // (3 if len(self.agreement) else 2)

    @property
    def spreads(self) -> Floats:
        """Median over prompts of the rewards' standard deviation within a prompt, in nats, [properties]."""
        spreads: Floats = np.exp(self.variation.means[: self.num_properties])
        return spreads

    @property
    def between_prompts(self) -> float:
        """Standard deviation of the log of the part of the spread that properties share; of one property, all of it."""
        return math.sqrt(max(0.0, self._shared))

    @property
    def mixed(self) -> float:
        """The same of the part that each property has to itself; 0 for one property."""
        logs = self._log_covariance
        return math.sqrt(max(0.0, float(np.trace(logs)) / len(logs) - self._shared))

    @property
    def ratio(self) -> float:
        """Median spread of the widest over that of the narrowest property."""
        return float(self.spreads.max() / self.spreads.min())

    @property
    def good(self) -> Floats:
        """Mean over prompts of P(good), [properties]; needs a judge."""
        num = self.num_properties
        bars, variances = self.variation.means[2 * num :], np.maximum(np.diag(self.variation.covariance)[2 * num :], 0)
        good: Floats = ndtr(-bars / np.sqrt(1 + variances))
        return good

    @property
    def _shared(self) -> float:
        logs = self._log_covariance
        num = len(logs)
        return float((logs.sum() - np.trace(logs)) / (num * (num - 1)) if num > 1 else logs[0, 0])

    @property
    def _log_covariance(self) -> Floats:
        return self.variation.covariance[: self.num_properties, : self.num_properties]


def statistics_of(samples: DiagnosedSamples) -> Statistics:
    """Measures of every prompt; the rewards of every property must vary in every half of a prompt's samples."""
    pairs = list(combinations(range(len(samples.names)), 2))
    none = np.empty((0, samples.num_prompts))

    def correlated(scores: Floats) -> Floats:
        found = [within_prompt_correlations(scores[one], scores[other]) for one, other in pairs]
        return np.stack(found) if found else none

    scores = samples.scores
    return Statistics(
        samples.names,
        samples.num_samples,
        prompt_measures(samples),
        correlated(samples.rewards),
        none if scores is None else correlated(scores),
        () if scores is None else tuple(disagreement(*both) for both in zip(samples.rewards, scores, strict=True)),
        none if scores is None else excess(samples),
    )


def point_of(found: Statistics) -> Point:
    """The coordinates of these prompts."""
    num = len(found.names)
    variation = variation_of(found.measures)
    counts = found.measures.good.sum(-1) * found.num_samples
    room = np.divide(found.excess.sum(-1), counts, out=np.zeros(len(counts)), where=counts > 0)
    deviations = np.sqrt(np.maximum(np.diag(variation.covariance), 0))
    ceilings = [
        ceiling_of(float(room[place]), float(variation.means[2 * num + place]), float(deviations[2 * num + place]))
        for place in range(len(room))
    ]
    answers = found.num_prompts * found.num_samples
    return Point(
        variation,
        _means(found.correlations),
        _means(found.judge_correlations),
        np.array([_mean(each.correlation) for each in found.disagreements]),
        np.array([l_kurtosis(each.l_moments) for each in found.disagreements]),
        np.array([(each.over.sum() - each.under.sum()) / answers for each in found.disagreements]),
        room,
        np.array(ceilings),
    )


def interval(value: float, resampled: Floats, *, confidence: float = 0.95) -> Interval:
    """A value with the percentile interval of what resampled prompts give, which may be infinite on one side."""
    low, high = np.quantile(resampled, [0.5 - confidence / 2, 0.5 + confidence / 2], method="inverted_cdf")
    finite = resampled[np.isfinite(resampled)]
    error = float(finite.std()) if len(finite) else math.nan
    return Interval(value, float(low), float(high), error, confidence)


def overrated_interval(found: Disagreement, num_samples: int, resampled: Floats) -> Interval:
    """The share of overrated answers: the wider of the bootstrap, which sees that prompts are alike, and of counts.

    Few or no counts show a bootstrap no spread; Wilson's intervals of the shares over and under the line, put together
    by Newcombe's rule, do.
    """
    answers = len(found.over) * num_samples
    over, under = (float(count.sum()) for count in (found.over, found.under))
    by_prompt = interval((over - under) / answers, resampled)
    (low, high), (low_under, high_under) = _wilson(over, answers), _wilson(under, answers)
    share, share_under = over / answers, under / answers
    difference = share - share_under
    return Interval(
        difference,
        min(by_prompt.low, difference - math.hypot(share - low, high_under - share_under)),
        max(by_prompt.high, difference + math.hypot(high - share, share_under - low_under)),
        by_prompt.standard_error,
    )


def _wilson(count: float, total: int) -> tuple[float, float]:
    z = 1.959964
    share, width = count / total, z**2 / total
    middle = (share + width / 2) / (1 + width)
    half = z * math.sqrt(share * (1 - share) / total + width / (4 * total)) / (1 + width)
    return middle - half, middle + half


def _mean(values: Floats) -> float:
    """Of the known ones; 0 where none is."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else 0.0


def _means(values: Floats) -> Floats:
    return np.array([_mean(row) for row in values])
