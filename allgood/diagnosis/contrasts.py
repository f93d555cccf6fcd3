"""Differences of all-good rates between objectives: on the samples where they reach, else calculated."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from allgood.diagnosis.arms import AGGREGATIONS, ARMS, OTHER_REFERENCES, OURS, PLAIN, RIVALS, Arm, Reached, reached
from allgood.diagnosis.calculation import calculated, drawn, population_of
from allgood.diagnosis.coordinates import Point, Statistics, point_of
from allgood.diagnosis.found import Contrast, Question
from allgood.diagnosis.samples import DiagnosedSamples
from allgood.intervals import Interval, cluster_bootstrap

Floats = NDArray[np.float64]

MODEL_ERROR = 0.02
"""How far calculation was off on the embedded world, whose gold ends and whose shortcuts are rewarded; never less."""
UNSEEN_ERROR = 0.3
"""The same at KLs of which samples show nothing, as a share of the calculated rate: 0.2 to 0.4 on the open world."""
_DRAWN_ANSWERS = 100_000  # of the calculated world
_SHOWN = 0.75  # of log n: up to here samples show a KL, if too little of it
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
    samples: DiagnosedSamples, statistics: Statistics, kls: Sequence[float], *, overrates: Sequence[bool]
) -> dict[float, dict[Question, Contrast]]:
    """Contrasts at rising KLs from the coordinates.

    Where the samples show such a KL at all, but too little of it to be trusted, they still say how wrong the
    calculation is: it is asked what as few samples of its own world would show. What they differ by is added, and the
    interval is wide enough to hold the answer without it too. Where they show nothing, it holds `UNSEEN_ERROR`.

    Args:
        samples: Of the prompts.
        statistics: Of the same prompts.
        kls: In nats.
        overrates: Per property whether overrated answers show, and count.
    """
    thresholds = [each.threshold for each in statistics.disagreements]
    asked = [arm for arm in ARMS if arm not in AGGREGATIONS or len(statistics.names) == 2]
    point = point_of(statistics)
    population = population_of(point, _rates(point, overrates), thresholds)
    found = calculated(population, asked, kls)
    best = {
        question: [_highest(known, found, place) for place in range(len(kls))]
        for question in questions(len(statistics.names))
        if (known := [arm for arm in QUESTIONS[question] if arm in found])
    }
    chosen = [arm for arm in asked if arm == OURS or any(arm in arms for arms in best.values())]
    resampled = [
        calculated(population_of(each, _rates(each, overrates), thresholds), chosen, kls)
        for each in map(point_of, statistics.resamples(_NUM_RESAMPLES, seed=1))
    ]
    repeats = max(1, _DRAWN_ANSWERS // (len(population.bars) * samples.num_samples))
    expected = drawn(population, samples.names, samples.num_samples, repeats=repeats)
    answers: dict[float, dict[Question, Contrast]] = {kl: {} for kl in kls}
    misfits = dict.fromkeys(best, MODEL_ERROR)
    for place, kl in enumerate(kls):
        seen = [reached(each, chosen, kl) if _is_shown(kl, samples.num_samples) else {} for each in (samples, expected)]
        for question, arms in best.items():
            arm, sign = arms[place], _SIGNS[question]
            value = sign * float(found[OURS][place] - found[arm][place])
            values = np.array([sign * float(each[OURS][place] - each[arm][place]) for each in resampled])
            if not (np.isfinite(value) and np.isfinite(values).all()):
                continue  # part of the optimum lies beyond the lattice
            correction = _correction(seen, arm, sign)
            seen_error = 0.0 if correction is None else abs(correction.value)
            misfits[question] = max(misfits[question], seen_error)
            unseen_error = UNSEEN_ERROR * float(found[OURS][place]) if correction is None else 0.0
            misfit = max(misfits[question], unseen_error)
            difference = _corrected(value, float(values.std(ddof=1)), correction, misfit)
            answers[kl][question] = Contrast(
                kl,
                question,
                arm.in_words,
                "calculation",
                difference,
                float(found[OURS][place]),
                None if correction is None else correction.value,
            )
    return answers


def _is_shown(kl: float, num_samples: int) -> bool:
    return kl < _SHOWN * math.log(num_samples)


def _correction(seen: Sequence[Mapping[Arm, Reached]], arm: Arm, sign: float) -> Interval | None:
    """What samples differ by from as many of the calculated world; None where either does not reach the KL."""
    if any(OURS not in each or arm not in each for each in seen):
        return None
    actual, expected = (sign * (each[OURS].all_good - each[arm].all_good) for each in seen)
    return cluster_bootstrap(actual - expected.mean(), seed=0)


def _corrected(value: float, error: float, correction: Interval | None, misfit: float) -> Interval:
    """The calculated difference plus the correction; its interval holds the errors of both, and the misfit."""
    shift = 0.0 if correction is None else correction.value
    seen = 0.0 if correction is None else 1.96 * correction.standard_error
    half = float(np.sqrt((_STUDENT * error) ** 2 + seen**2 + misfit**2))
    return Interval(value + shift, value + shift - half, value + shift + half, half / 1.96)


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
