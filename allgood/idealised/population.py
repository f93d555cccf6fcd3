"""The law of rewards in a world that was measured: every prompt with a spread, bar and reference of its own.

The same idealisation as in `allgood.idealised.laws`: gold is normal within a prompt and may end at a ceiling, a reward
is a spread times gold plus an error. What differs is that bars, errors and ceilings are those of each property.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import toeplitz
from scipy.stats import norm

from allgood.idealised.cells import Errors
from allgood.idealised.laws import (
    EDGE,
    MASS,
    NUM_OTHERS,
    Lattice,
    Law,
    error_masses,
    gold_masses,
    mean,
    standard_deviation,
)
from allgood.idealised.objectives import Rewards

Floats = NDArray[np.float64]

MEDIUM = Lattice(-9.0, 1 / 12, 396)
"""Of calculations that are repeated many times; exact to about 0.002."""
OVERRATING = 4.0
"""Mean size, in spreads, by which an overrated answer is taken to be overrated: 2 to 6, as in the map."""


@dataclass(frozen=True)
class Population:
    """Prompts, and what reward models say on them.

    Attributes:
        spreads: Standard deviation of rewards within a prompt, errors included, in nats, [prompts, properties].
        bars: Gold from which a response is good, in standard deviations above the prompt's mean, [prompts, properties].
        references: r_ref, in standard deviations of rewards above the prompt's mean, [prompts, properties].
        correlation: Of gold between properties; below 0 for two properties only.
        noise: Standard deviation of normal errors, in spreads of gold, [properties].
        rates: Share of answers overrated by 2 to 6 spreads, [properties].
        ceilings: Where gold ends, in spreads above the bar; infinite without an end, [properties].
    """

    spreads: Floats
    bars: Floats
    references: Floats
    correlation: float
    noise: Floats
    rates: Floats
    ceilings: Floats


def rewards_of(population: Population) -> Rewards:
    """What objectives are made of."""
    law = cache(partial(_law_of, population))
    deviation = standard_deviation(law(MEDIUM))
    spreads = population.spreads / deviation
    references = spreads * (mean(law(MEDIUM)) + population.references * deviation)
    return Rewards(spreads, law, references, MEDIUM)


def _law_of(population: Population, lattice: Lattice) -> Law:
    weights, values = _factor(population.correlation)
    num_prompts, num_properties = population.bars.shape
    tables = np.empty((num_prompts, num_properties, lattice.num, len(values), 1 + NUM_OTHERS))
    loadings = np.sqrt(abs(population.correlation)) * np.ones(num_properties)
    if population.correlation < 0:
        loadings[1] *= -1
    for place in range(num_properties):
        blur = _blur(lattice, float(population.noise[place]), float(population.rates[place]))
        for prompt in range(num_prompts):
            bar, ceiling = float(population.bars[prompt, place]), float(population.ceilings[place])
            gold = np.stack(
                [
                    gold_masses(
                        lattice,
                        float(loadings[place] * value),
                        correlation=population.correlation,
                        bars=np.array([bar]),
                        ceiling=bar + ceiling if np.isfinite(ceiling) else None,
                    )
                    for value in values
                ],
                axis=1,
            )
            flat = gold.reshape(lattice.num, -1)
            tables[prompt, place] = (flat if blur is None else blur @ flat).reshape(gold.shape)
    tables[..., EDGE] = tables[..., MASS] * (lattice.points > lattice.points[-1] - 1)[:, None]
    return Law(lattice, weights, tables)


def _factor(correlation: float) -> tuple[Floats, Floats]:
    """Weights and values of what correlated properties share, as close as their remaining spread asks for."""
    if correlation == 0:
        return np.ones(1), np.zeros(1)
    step = min(0.8, 1.2 * np.sqrt((1 - abs(correlation)) / abs(correlation)))
    values = np.arange(-6.8, 14, step) if correlation > 0 else np.arange(-10, 10.1, step)
    return norm.pdf(values) * step, values


def _blur(lattice: Lattice, noise: float, rate: float) -> Floats | None:
    """The matrix [points, points] that adds a property's errors to gold; None without any."""
    masses = np.ones(1)
    if noise > lattice.step / 4:
        masses = error_masses(Errors("normal", noise), lattice)
    if rate > 0:
        masses = np.convolve(masses, error_masses(Errors("overrated", OVERRATING, rate), lattice))
    if len(masses) == 1:
        return None
    padded = np.pad(masses, max(0, lattice.num - len(masses) // 2))
    middle = len(padded) // 2
    matrix: Floats = toeplitz(padded[middle : middle + lattice.num], padded[middle : middle - lattice.num : -1])
    return matrix
