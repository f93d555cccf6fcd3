"""Differences of all-good rates between objectives: on the samples where they reach, else calculated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from allgood.diagnosis.arms import AGGREGATIONS, ARMS, OTHER_REFERENCES, OURS, PLAIN, RIVALS, Arm, Reached, reached
from allgood.diagnosis.calculation import calculated, population_of
from allgood.diagnosis.coordinates import Point, Statistics, point_of
from allgood.diagnosis.found import KLS, Contrast, Question
from allgood.diagnosis.samples import DiagnosedSamples
from allgood.intervals import Interval, cluster_bootstrap

Floats = NDArray[np.float64]

CHECKS = (0.25, 0.5, *KLS)
"""KLs at which calculation is compared with samples."""
_NUM_RESAMPLES = 12
_STUDENT = 2.201  # 97.5 % of t with 11 degrees of freedom
QUESTIONS: Mapping[Question, tuple[Arm, ...]] = {
    "transform": (PLAIN,),
    "rival": RIVALS,
    "reference": OTHER_REFERENCES,
    "aggregation": AGGREGATIONS,
}
_SIGNS: Mapping[Question, float] = {"transform": 1.0, "rival": 1.0, "reference": -1.0, "aggregation": -1.0}


def questions(num_properties: int) -> tuple[Question, ...]:
    """With one property there is nothing to aggregate."""
    return tuple(question for question in QUESTIONS if num_properties > 1 or question != "aggregation")


def on_samples(samples: DiagnosedSamples, kl: float) -> dict[Question, Contrast]:
    """Contrasts at a KL that the samples support for both sides.

    Where an arm is chosen among several, one half of the prompts chooses and the other measures: the best of many on
    the same prompts is partly luck.
    """
    found = reached(samples, ARMS, kl)
    ours = found.get(OURS)
    if ours is None or not ours.reliable:
        return {}
    answers = {}
    for question in questions(len(samples.names)):
        others = {arm: found[arm] for arm in QUESTIONS[question] if arm in found and found[arm].reliable}
        if others:
            rates, name = _best(others)
            answers[question] = Contrast(
                kl, question, name, "samples", _paired(question, ours.all_good - rates), float(ours.all_good.mean())
            )
    return answers


def by_calculation(
    statistics: Statistics, kls: Sequence[float], *, overrates: Sequence[bool], rates: Floats
) -> dict[float, dict[Question, Contrast]]:
    """Contrasts at rising KLs from the coordinates, with the error that few prompts leave in them.

    Args:
        statistics: Of the prompts.
        kls: In nats.
        overrates: Per property whether overrated answers show, and count.
        rates: Share of them, [properties].
    """
    names = questions(len(statistics.names))
    thresholds = [each.threshold for each in statistics.disagreements]
    asked = [arm for arm in ARMS if arm not in AGGREGATIONS or len(statistics.names) == 2]
    found = calculated(population_of(point_of(statistics), rates, thresholds), asked, kls)
    best = {
        question: [
            max(known, key=lambda arm: float(np.nan_to_num(found[arm][place], nan=-1.0))) for place in range(len(kls))
        ]
        for question in names
        if (known := [arm for arm in QUESTIONS[question] if arm in found])
    }
    chosen = [arm for arm in asked if arm == OURS or any(arm in arms for arms in best.values())]
    resampled = [
        calculated(population_of(point, _rates(point, overrates), thresholds), chosen, kls)
        for point in map(point_of, statistics.resamples(_NUM_RESAMPLES, seed=1))
    ]
    answers: dict[float, dict[Question, Contrast]] = {}
    for place, kl in enumerate(kls):
        answers[kl] = {}
        for question, arms in best.items():
            arm = arms[place]
            value = _SIGNS[question] * float(found[OURS][place] - found[arm][place])
            drawn = np.array([_SIGNS[question] * float(each[OURS][place] - each[arm][place]) for each in resampled])
            if not (np.isfinite(value) and np.isfinite(drawn).all()):
                continue  # part of the optimum lies beyond the lattice
            error = float(drawn.std(ddof=1))
            difference = Interval(value, value - _STUDENT * error, value + _STUDENT * error, error)
            rate = float(found[OURS][place])
            answers[kl][question] = Contrast(kl, question, arm.in_words, "calculation", difference, rate)
    return answers


def widened(found: Contrast, misfit: float) -> Contrast:
    """A calculated contrast whose interval also holds what calculation and samples differ by where both are known."""
    half = np.hypot(found.difference.high - found.difference.value, misfit)
    value = found.difference.value
    wider = Interval(value, float(value - half), float(value + half), found.difference.standard_error)
    return Contrast(found.kl, found.question, found.against, found.basis, wider, found.before)


def _best(others: Mapping[Arm, Reached]) -> tuple[Floats, str]:
    """All-good rates on every prompt of the arm that the other half of the prompts likes best; the best on all of them.

    With one arm there is nothing to choose.
    """
    arms = list(others)
    rates = np.stack([others[arm].all_good for arm in arms])  # [arms, prompts]
    parity = np.arange(rates.shape[1]) % 2
    measured = np.empty(rates.shape[1])
    for half in (0, 1):
        measured[parity == half] = rates[int(rates[:, parity != half].mean(1).argmax())][parity == half]
    return measured, arms[int(rates.mean(1).argmax())].in_words


def _highest(arms: Sequence[Arm], rates: Mapping[Arm, Floats], place: int) -> Arm:
    """The arm with the highest rate at a KL; an unknown one counts least."""
    return max(arms, key=lambda arm: float(np.nan_to_num(rates[arm][place], nan=-1.0)))


def _paired(question: Question, ours_minus_other: Floats) -> Interval:
    return cluster_bootstrap(_SIGNS[question] * ours_minus_other, seed=0)


def _rates(point: Point, overrates: Sequence[bool]) -> Floats:
    rates: Floats = np.where(overrates, np.maximum(point.overrated, 0.0), 0.0)
    return rates
