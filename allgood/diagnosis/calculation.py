"""All-good rates of the arms from coordinates alone, as on the map: for KLs that the samples do not support.

The samples are replaced by a population of prompts with the measured spreads, bars and references, their variation and
correlations, and by gold and errors of the idealised law (`allgood.idealised.population`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri
from scipy.stats import qmc

from allgood.diagnosis.arms import Arm
from allgood.diagnosis.coordinates import Point
from allgood.diagnosis.room import censored_deviation
from allgood.diagnosis.samples import DiagnosedSamples
from allgood.idealised.laws import mean, standard_deviation
from allgood.idealised.matching import at_mean_kl
from allgood.idealised.population import MEDIUM, OVERRATING, Population, rewards_of

Floats = NDArray[np.float64]

NUM_PROMPTS = 16
_CUT = 2.0  # standard deviations at which prompts end, as in the map
_CUT_DEVIATION = 0.880  # of a standard normal that is cut there
_TRUSTED_EDGE = 1e-3  # mass near the end of a lattice
_LEAST_AGREEMENT = 0.15


def population_of(point: Point, rates: Floats, thresholds: Sequence[float]) -> Population:
    """Prompts with the coordinates of a run.

    Args:
        point: Its coordinates, with a judge.
        rates: Share of answers that lie above the thresholds of overrating, [properties].
        thresholds: In spreads, [properties].
    """
    num = point.num_properties
    drawn = _prompts(point)
    spreads, references, bars = drawn[:, :num], drawn[:, num : 2 * num], drawn[:, 2 * num :]
    agreement = np.clip(point.agreement, _LEAST_AGREEMENT, 1.0)
    seen = np.clip((1.5 * OVERRATING - np.array(thresholds)) / OVERRATING, 0.25, 1.0)  # of sizes from 2 to 6
    deviation = censored_deviation(np.minimum(bars + point.ceilings, 40.0)).mean(0)
    return Population(
        spreads=np.exp(spreads),
        bars=bars,
        references=references,
        correlation=_shared_correlation(point),
        noise=deviation * np.sqrt(1 / agreement**2 - 1),
        rates=rates / seen,
        ceilings=point.ceilings,
    )


def calculated(population: Population, arms: Sequence[Arm], kls: Sequence[float]) -> Mapping[Arm, Floats]:
    """All-good rates of each arm at rising KLs, [kls]; NaN where the lattice does not hold the optimum."""
    rewards = rewards_of(population)
    found = {}
    for arm in arms:
        family = rewards.family(arm.objective, arm.parameter)
        optima = [family.at(inverse_gamma) for inverse_gamma in at_mean_kl(family, kls)]
        found[arm] = np.array(
            [o.all_good.mean() if o.edge.max() < _TRUSTED_EDGE else np.nan for o in optima], dtype=np.float64
        )
    return found


def _prompts(point: Point) -> Floats:
    """[prompts, 3 properties]: a quadrature of the normal population, the same points whatever its covariance."""
    dimensions = len(point.variation.means)
    points = qmc.Sobol(dimensions, rng=np.random.default_rng(0)).random(NUM_PROMPTS)
    normals = ndtri(ndtr(-_CUT) + points * (ndtr(_CUT) - ndtr(-_CUT))) / _CUT_DEVIATION
    values, vectors = np.linalg.eigh(point.variation.positive_covariance)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    prompts: Floats = point.variation.means + normals @ root
    return prompts


def _shared_correlation(point: Point) -> float:
    """One for all pairs: of more than two properties the mean, which then cannot be below 0."""
    if not len(point.judge_correlations):
        return 0.0
    mean = float(point.judge_correlations.mean())
    lowest = -0.9 if point.num_properties == 2 else 0.0
    clipped = float(np.clip(mean, lowest, 0.9))
    return 0.0 if abs(clipped) < 0.01 else clipped


def drawn(population: Population, names: tuple[str, ...], num_samples: int, *, repeats: int) -> DiagnosedSamples:
    """Samples of a population, `repeats` times over its prompts: what calculation expects so few samples to show."""
    generator = np.random.default_rng(0)
    bars, spreads, references = (
        np.repeat(part.T, repeats, axis=1) for part in (population.bars, population.spreads, population.references)
    )
    shape = (*bars.shape, num_samples)
    loading = np.sqrt(abs(population.correlation)) * np.ones((len(names), 1, 1))
    if population.correlation < 0:
        loading[1] *= -1
    gold = loading * generator.standard_normal((1, *shape[1:]))
    gold += np.sqrt(1 - abs(population.correlation)) * generator.standard_normal(shape)
    gold = np.minimum(gold, (bars + population.ceilings[:, None])[..., None])
    errors = population.noise[:, None, None] * generator.standard_normal(shape)
    is_overrated = generator.random(shape) < population.rates[:, None, None]
    errors += is_overrated * OVERRATING * generator.uniform(0.5, 1.5, shape)
    rewards = gold + errors
    means, deviations = (read(rewards_of(population).law(MEDIUM)).T for read in (mean, standard_deviation))
    centres, widths = (np.repeat(part, repeats, axis=1)[..., None] for part in (means, deviations))
    standard = (rewards - centres) / widths
    return DiagnosedSamples(names, spreads[..., None] * standard, spreads * references, gold, bars)
