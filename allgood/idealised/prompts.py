"""The prompts of a cell: their spreads, as a randomised quadrature over the population of prompts.

Several independent quadratures of few prompts each: their scatter is the error of everything that is averaged over
prompts. A world whose prompts are all alike needs one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri
from scipy.stats import qmc

from allgood.idealised.cells import Cell

Floats = NDArray[np.float64]

NUM_REPLICATES = 4
PROMPTS_PER_REPLICATE = 16
TEST_SEED, VALIDATION_SEED = 0, 1


@dataclass(frozen=True)
class Prompts:
    """Spreads in nats, [prompts, properties], replicate after replicate."""

    spreads: Floats
    num_replicates: int

    def by_replicate(self, values: Floats) -> Floats:
        """Values [prompts, ...] as [replicates, prompts of one, ...]."""
        return values.reshape(self.num_replicates, -1, *values.shape[1:])


def prompts_of(cell: Cell, *, seed: int = TEST_SEED) -> Prompts:
    """The prompts of a cell; another seed gives other prompts of the same population."""
    levels = np.linspace(-0.5, 0.5, cell.properties) if cell.properties > 1 else np.zeros(1)
    by_property = cell.spread * cell.ratio**levels
    if not (cell.between_prompts or cell.mixed):
        return Prompts(by_property[None, :], 1)
    drawn = np.concatenate([_factors(cell, 1000 * seed + replicate) for replicate in range(NUM_REPLICATES)])
    return Prompts(by_property * drawn, NUM_REPLICATES)


def _factors(cell: Cell, seed: int) -> Floats:
    """[prompts, properties]; a dimension of the quadrature only where there is something to vary."""
    common, own = int(cell.between_prompts > 0), cell.properties * int(cell.mixed > 0)
    points = qmc.Sobol(common + own, rng=np.random.default_rng(seed)).random(PROMPTS_PER_REPLICATE)
    normals = ndtri(ndtr(-cell.cut) + points * (ndtr(cell.cut) - ndtr(-cell.cut)))
    logs = np.zeros((PROMPTS_PER_REPLICATE, cell.properties))
    if common:
        logs += cell.between_prompts * normals[:, :1]
    if own:
        logs += cell.mixed * normals[:, common:]
    factors: Floats = np.exp(logs)
    return factors
