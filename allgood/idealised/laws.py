"""The joint law of a property's reward and gold under pi_0, as masses on a lattice of rewards in spreads.

What is not independent between properties (correlated gold, shared errors) is carried by a shared factor: given its
value the properties are independent. Everything is a sum of non-negative terms, so small masses keep their digits; the
midpoint rule is exact to rounding for smooth densities, and of second order at the bar.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri
from scipy.stats import norm

from allgood.idealised.cells import BARS, Cell, Errors
from allgood.number_checks import Number

Floats = NDArray[np.float64]

MASS, SCORE, EDGE, NUM_OTHERS = 0, -2, -1, 3  # places in the last axis of tables; the bars stand between
_FACTOR_STEP = 0.4  # standard deviations of what is shared
_LEAST_FACTOR = 1e-22  # 50 nats below; values of a shared error that no optimum goes to


@dataclass(frozen=True)
class Lattice:
    """Midpoints of `num` cells of width `step` from `low` on, in spreads."""

    low: float
    step: float
    num: int

    @property
    def points(self) -> Floats:
        """[num]."""
        points: Floats = self.low + self.step * (np.arange(self.num, dtype=np.float64) + 0.5)
        return points


FINE = Lattice(-9.0, 1 / 24, 792)  # up to 24
COARSE = Lattice(-8.0, 1 / 8, 224)  # up to 20; for grids over two properties


@dataclass(frozen=True)
class Law:
    """Masses under pi_0 on a lattice.

    Attributes:
        lattice: Of rewards in spreads (gold + error).
        factor: Probabilities of the values of the shared factor, [factors]; one value where nothing is shared.
        tables: [prompts or 1, properties or 1, points, factors, quantities], given the factor. Quantities are the mass,
            the mass of good responses per bar, the mass times gold's rank under pi_0, and the mass near the upper end.
    """

    lattice: Lattice
    factor: Floats
    tables: Floats

    @property
    def num_bars(self) -> int:
        """Bars that a good response may exceed."""
        return int(self.tables.shape[-1]) - NUM_OTHERS

    @property
    def marginals(self) -> Floats:
        """Masses of each property's rewards, [prompts or 1, properties or 1, points], adding up to 1."""
        masses: Floats = self.tables[..., MASS] @ self.factor
        shares: Floats = masses / masses.sum(-1, keepdims=True)
        return shares


def law_of(cell: Cell, lattice: Lattice, *, bars: Floats | None = None) -> Law:
    """The law of a cell's rewards. `bars` are gold values in spreads, [prompts, properties, bars], if not quantiles."""
    bars = ndtri(np.array(BARS))[None, None, :] if bars is None else bars
    own_error = error_masses(Errors() if cell.errors.shared else cell.errors, lattice)
    factors = [(a, b) for a in _gold_factors(cell) for b in _error_factors(cell, lattice)]
    loadings = [np.sqrt(abs(cell.correlation))] * (1 if cell.correlation >= 0 else 2)
    if cell.correlation < 0:
        loadings[1] *= -1
    ceiling = None if cell.ceiling is None else float(ndtri(0.85) + cell.ceiling)
    places = (bars.shape[0], max(bars.shape[1], len(loadings)))
    tables = np.zeros((*places, lattice.num, len(factors), len(BARS) + NUM_OTHERS))
    for prompt, place in np.ndindex(places):
        at_bars = bars[prompt, min(place, bars.shape[1] - 1)]
        for index, ((_, gold_shift), (_, error_shift)) in enumerate(factors):
            mean = loadings[min(place, len(loadings) - 1)] * gold_shift
            gold = gold_masses(lattice, mean, correlation=cell.correlation, bars=at_bars, ceiling=ceiling)
            tables[prompt, place, :, index] = _shifted(_blurred(gold, own_error), error_shift)
    tables[..., EDGE] = tables[..., MASS] * (lattice.points > lattice.points[-1] - 1)[:, None]
    return Law(lattice, np.array([a[0] * b[0] for a, b in factors]), tables)


def quantile(law: Law, q: float) -> Floats:
    """Of each property's rewards under pi_0, in spreads, [prompts or 1, properties or 1]; linear within a cell."""
    edges = law.lattice.low + law.lattice.step * np.arange(law.lattice.num + 1)
    below = np.pad(np.cumsum(law.marginals, axis=-1), ((0, 0), (0, 0), (1, 0)))
    return np.apply_along_axis(lambda row: np.interp(q, row / row[-1], edges), -1, below)


def mean(law: Law) -> Floats:
    """Of each property's rewards under pi_0, in spreads, [prompts or 1, properties or 1]."""
    means: Floats = law.marginals @ law.lattice.points
    return means


def standard_deviation(law: Law) -> Floats:
    """Of each property's rewards under pi_0, in spreads, [prompts or 1, properties or 1]."""
    deviations = law.lattice.points - mean(law)[..., None]
    deviation: Floats = np.sqrt((law.marginals * deviations**2).sum(-1))
    return deviation


def absolute_bars(spreads: Floats) -> Floats:
    """For each of BARS the one gold value, in nats, that the stated share of responses stays below on average."""
    found = []
    for share in BARS:
        low, high = 0.0, 10.0 * float(spreads.max())
        for _ in range(60):
            middle = 0.5 * (low + high)
            low, high = (middle, high) if ndtr(middle / spreads).mean() < share else (low, middle)
        found.append(0.5 * (low + high))
    return np.array(found)


def gold_masses(lattice: Lattice, mean: Number, *, correlation: Number, bars: Floats, ceiling: Number | None) -> Floats:
    """[points, quantities] of gold, normal with this mean given the factor, with whatever lies over a ceiling at it."""
    points, step = lattice.points, lattice.step
    deviation = np.sqrt(1 - abs(correlation))
    masses = _density((points - mean) / deviation) / deviation * step
    ranks = ndtr(points)
    if ceiling is not None:
        # The ceiling lies at the lattice point from which on gold would be above it.
        top = int(np.searchsorted(points, ceiling))
        start = points[top] - step / 2
        masses[top], ranks[top] = ndtr((mean - start) / deviation), 1 - 0.5 * ndtr(-start)
        masses[top + 1 :] = 0
    masses /= masses.sum()
    over = np.clip((points[:, None] + step / 2 - bars) / step, 0, 1)  # of a cell that holds the bar, the part above it
    return np.column_stack([masses, masses[:, None] * over, masses * ranks, np.zeros_like(masses)])


def _density(values: Floats) -> Floats:
    """Of a standard normal; `scipy.stats.norm.pdf` takes longer to check its arguments than to answer."""
    density: Floats = np.exp(-(values**2) / 2.0) / np.sqrt(2 * np.pi)
    return density


def error_masses(errors: Errors, lattice: Lattice) -> Floats:
    """Masses of the error on multiples of the lattice's step, odd in number, 0 in the middle."""
    if errors.kind == "none":
        return np.ones(1)
    if errors.kind == "student":
        raise ValueError("errors without exponential moments have no optimum under a raw sum; they can only be sampled")
    reach = 1.5 * errors.size if errors.kind in ("overrated", "underrated") else 0.95 * (lattice.step * lattice.num)
    num = round(reach / lattice.step)
    offsets = lattice.step * np.arange(-num, num + 1)
    if errors.kind in ("overrated", "underrated"):
        sign = 1 if errors.kind == "overrated" else -1
        low, high = 0.5 * errors.size, 1.5 * errors.size
        cells = sign * offsets
        inside = np.minimum(cells + lattice.step / 2, high) - np.maximum(cells - lattice.step / 2, low)
        rare: Floats = errors.rate * np.clip(inside, 0, None) / np.clip(inside, 0, None).sum()
        rare[num] += 1 - errors.rate
        return rare
    deviations = offsets / errors.size
    density = norm.pdf(deviations) if errors.kind == "normal" else np.exp(-np.sqrt(2) * abs(deviations))
    masses: Floats = density / density.sum()
    return masses


def _gold_factors(cell: Cell) -> list[tuple[float, float]]:
    """(probability, value) of what correlated properties share: standard normal, far up, where tilting moves it."""
    if cell.correlation == 0:
        return [(1.0, 0.0)]
    values = np.arange(-6.8, 14, _FACTOR_STEP) if cell.correlation > 0 else np.arange(-10, 10.1, _FACTOR_STEP)
    return list(zip((norm.pdf(values) * _FACTOR_STEP).tolist(), values.tolist(), strict=True))


def _error_factors(cell: Cell, lattice: Lattice) -> list[tuple[float, int]]:
    """(probability, shift in steps of the lattice) of a shared error."""
    if not cell.errors.shared:
        return [(1.0, 0)]
    smooth = cell.errors.size / 4 if cell.errors.kind == "normal" else 0.0
    step = round(max(0.125, smooth) / lattice.step)
    spaced = Lattice(lattice.low, step * lattice.step, lattice.num // step)
    masses = error_masses(cell.errors, spaced)
    shifts = step * (np.arange(len(masses)) - len(masses) // 2)
    kept = masses > _LEAST_FACTOR
    return list(zip(masses[kept].tolist(), shifts[kept].tolist(), strict=True))


def _blurred(gold: Floats, errors: Floats) -> Floats:
    """The quantities [points, quantities] after the error is added to gold."""
    if len(errors) == 1:
        return gold
    middle = len(errors) // 2
    return np.column_stack([np.convolve(column, errors)[middle : middle + len(column)] for column in gold.T])


def _shifted(gold: Floats, steps: int) -> Floats:
    """The quantities moved up by a number of lattice steps; what leaves the lattice is lost."""
    if steps == 0:
        return gold
    moved = np.zeros_like(gold)
    if steps > 0:
        moved[steps:] = gold[:-steps]
    else:
        moved[:steps] = gold[-steps:]
    return moved
