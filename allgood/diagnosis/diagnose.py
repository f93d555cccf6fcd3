"""A diagnosis: where a run's samples lie on the map, whether the choice of objective matters, and what is unknown.

It never gives a number that the samples do not support: what cannot be said is a sentence with its reason.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from allgood.diagnosis.arms import OURS, PLAIN, supported_kl
from allgood.diagnosis.calculation import calculated, population_of
from allgood.diagnosis.contrasts import by_calculation, on_samples
from allgood.diagnosis.coordinates import Statistics, point_of, statistics_of
from allgood.diagnosis.found import KLS, Contrast, Coordinates, Diagnosis, JudgedCoordinates, Question, WhatIf
from allgood.diagnosis.measured import coordinates_of
from allgood.diagnosis.samples import DiagnosedSamples
from allgood.diagnosis.variation import prompt_measures
from allgood.intervals import cluster_bootstrap

MIN_SAMPLES, MIN_PROMPTS = 8, 20
LEAST_AGREEMENT = 0.15


def diagnose(samples: DiagnosedSamples) -> Diagnosis:
    """Everything that the samples say about the choice of an objective."""
    varied = _varied_prompts(samples)
    can_measure = samples.num_samples >= MIN_SAMPLES and len(varied) >= MIN_PROMPTS
    statistics = statistics_of(samples.on(varied)) if can_measure else None
    coordinates = None if statistics is None else coordinates_of(statistics)
    has_judge = samples.scores is not None
    direct = {kl: on_samples(samples, kl) for kl in KLS} if has_judge and samples.num_samples >= 4 else {}
    reasons = _why_not_calculated(coordinates)
    calculation: dict[float, dict[Question, Contrast]] = {}
    what_if: tuple[WhatIf, ...] = ()
    if statistics is not None and coordinates is not None and not reasons and has_judge:
        calculation, what_if = _calculated(samples.on(varied), statistics, coordinates)
    contrasts = [found for kl in KLS for found in (calculation.get(kl, {}) | direct.get(kl, {})).values()]
    return Diagnosis(
        num_prompts=samples.num_prompts,
        num_samples=samples.num_samples,
        all_good=cluster_bootstrap(np.asarray(samples.is_good.all(0), dtype=np.float64), seed=0) if has_judge else None,
        coordinates=coordinates,
        supported_kl={arm.in_words: supported_kl(samples, arm) for arm in (OURS, PLAIN)},
        contrasts=tuple(contrasts),
        what_if=what_if,
        cannot=(*_unsaid(samples, varied), *(reasons if has_judge else ())),
    )


def _calculated(
    samples: DiagnosedSamples, statistics: Statistics, coordinates: Coordinates
) -> tuple[dict[float, dict[Question, Contrast]], tuple[WhatIf, ...]]:
    judged = [each.judged for each in coordinates.properties if each.judged is not None]
    overrates = [found.overrates for found in judged]
    found = by_calculation(samples, statistics, KLS, overrates=overrates)
    return found, () if any(overrates) else _what_if(statistics, judged)


def _varied_prompts(samples: DiagnosedSamples) -> NDArray[np.intp]:
    """Prompts on which rewards of every property vary, in halves of the samples too."""
    if samples.num_samples < MIN_SAMPLES:
        return np.arange(samples.num_prompts)
    halves = prompt_measures(samples).value_halves
    return np.flatnonzero(np.isfinite(halves).all(axis=(0, 1, 2)))


def _unsaid(samples: DiagnosedSamples, varied: NDArray[np.intp]) -> list[str]:
    """What these samples cannot say, whatever is in them."""
    found = []
    if samples.scores is None:
        found.append(
            "Nobody judges every property here: there is neither gold nor a held-out model for each, so how often "
            "answers are good, how reward models err and which objective is better are unknown."
        )
    if len(samples.names) == 1:
        found.append("With one property there is nothing to combine: correlation, ratio and aggregation have no value.")
    constant = [
        name for name, rewards in zip(samples.names, samples.rewards, strict=True) if not np.ptp(rewards, axis=-1).any()
    ]
    if constant:
        found.append(
            f"The reward of {', '.join(constant)} is the same for all samples of a prompt: it prefers nothing, and no "
            "objective can improve it. Look at what its scorer reads."
        )
    if samples.num_samples < MIN_SAMPLES:
        found.append(
            f"{samples.num_samples} samples per prompt do not tell differences between prompts from noise; spreads, "
            f"tails and calculation need {MIN_SAMPLES} or more: `allgood reference CONFIG --num-samples 64`."
        )
    elif len(varied) < MIN_PROMPTS:
        found.append(
            f"Rewards vary on {len(varied)} of {samples.num_prompts} prompts; coordinates and their intervals need "
            f"{MIN_PROMPTS} or more."
        )
    elif len(varied) < samples.num_prompts:
        found.append(
            f"On {samples.num_prompts - len(varied)} of {samples.num_prompts} prompts nearly all samples have one "
            "reward; they have no part in the coordinates."
        )
    return found


def _why_not_calculated(coordinates: Coordinates | None) -> list[str]:
    """Why calculation from these coordinates would mean nothing."""
    beyond = "Beyond the KL that the samples support nothing is calculated:"
    if coordinates is None:
        return [f"{beyond} there are no coordinates to calculate from."]
    judged = [(each.name, each.judged) for each in coordinates.properties if each.judged is not None]
    reasons = []
    apart = [name for name, found in judged if found.agreement.value < LEAST_AGREEMENT]
    if apart:
        reasons.append(
            f"{beyond} the reward of {', '.join(apart)} hardly agrees with its judge within prompts (correlation below "
            f"{LEAST_AGREEMENT})."
        )
    heavy = [name for name, found in judged if found.tail == "heavy" and not found.overrates]
    if heavy:
        reasons.append(
            f"{beyond} errors of {', '.join(heavy)} have a tail like Student's t with 3 degrees of freedom. A raw sum "
            "then has no optimum to calculate; what is seen depends on the number of samples."
        )
    return reasons


def _what_if(statistics: Statistics, judged: Sequence[JudgedCoordinates]) -> tuple[WhatIf, ...]:
    """LSC minus raw with as many overrated answers as would not show."""
    hidden = np.array([max(found.overrated.high, 0.0) for found in judged])
    thresholds = [found.overrated_from for found in judged]
    rates = calculated(population_of(point_of(statistics), hidden, thresholds), (OURS, PLAIN), KLS)
    found = [
        WhatIf(kl, float(hidden.max()), float(difference))
        for kl, difference in zip(KLS, rates[OURS] - rates[PLAIN], strict=True)
    ]
    return tuple(each for each in found if math.isfinite(each.difference))
