"""Two properties whose gold and errors are normal and may be correlated: exact optima on a grid of both rewards.

The map's own cells have errors that are independent between properties, or one for both. Measured rewards oppose each
other, errors included, so that here gold and errors have correlations of their own. Given both rewards, gold is normal:
the probability that both properties are good is a bivariate normal one, and nothing is sampled. A share of the answers
may be overrated on top, in each property by itself.

A reward's unit is its spread within a prompt, without what is overrated, and a gold value's unit is its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri, owens_t

from allgood.idealised.cells import BARS
from allgood.idealised.tilts import Optimum

Floats = NDArray[np.float64]

POINTS: Floats = np.arange(-7.0, 16.0, 1 / 16)
"""Of the grid along either reward, in spreads; 0 is the mean."""
OVERRATED_BY = (2.0, 6.0)  # spreads of gold, as on the map
_NEAR_END = 1.0  # spreads from the upper end of the grid
_ZERO = 1e-200  # for what is nearer to 0, whose ratios are not defined


@dataclass(frozen=True)
class NormalWorld:
    """What rewards tell of gold, on every prompt alike.

    Attributes:
        accuracy: Correlation of a reward with its gold within a prompt.
        correlation: Of gold between the properties.
        error_correlation: Of the reward models' errors between the properties.
        overrated: Share of the answers that a reward model rates `OVERRATED_BY` too high, in each property by itself.
    """

    accuracy: float
    correlation: float
    error_correlation: float
    overrated: float = 0.0

    @cached_property
    def masses(self) -> Floats:
        """Of both rewards under pi_0, [points, points]."""
        density = self._density
        return self._with_overrated(density / density.sum())

    @cached_property
    def good(self) -> Floats:
        """`masses` times the probability that both properties are above the bar, [bars, points, points]."""
        density = self._density / self._density.sum()
        return np.stack([self._with_overrated(density * self._both_good(bar)) for bar in BARS])

    @property
    def reward_correlation(self) -> float:
        """Of the two rewards, without what is overrated."""
        share = self.accuracy**2
        return share * self.correlation + (1 - share) * self.error_correlation

    @cached_property
    def marginal(self) -> Floats:
        """Of one reward, [points]."""
        marginal: Floats = self.masses.sum(1)
        return marginal

    def quantile(self, q: float) -> float:
        """Of a reward under pi_0, in spreads."""
        edges = np.append(POINTS, POINTS[-1] + _step()) - _step() / 2
        return float(np.interp(q, np.append(0.0, np.cumsum(self.marginal)), edges))

    @property
    def standard_deviation(self) -> float:
        """Of a reward under pi_0, in spreads: above 1 where answers are overrated."""
        mean = self.marginal @ POINTS
        return float(np.sqrt(self.marginal @ (POINTS - mean) ** 2))

    @cached_property
    def _density(self) -> Floats:
        first, second = POINTS[:, None], POINTS[None, :]
        c = self.reward_correlation
        density: Floats = np.exp(-(first**2 - 2 * c * first * second + second**2) / (2 * (1 - c**2)))
        return density

    def _both_good(self, bar: float) -> Floats:
        """P(both golds above their `bar` quantile | both rewards), [points, points]."""
        c, a = self.reward_correlation, self.correlation
        # Cov(gold, rewards) Cov(rewards)^-1; both are [[1, .], [., 1]] times a number.
        own, other = self.accuracy * np.array([1 - a * c, a - c]) / (1 - c**2)
        variance = 1 - self.accuracy * (own + a * other)
        covariance = a - self.accuracy * (own * a + other)
        deviation = np.sqrt(variance)
        mean = own * POINTS[:, None] + other * POINTS[None, :]
        height = (ndtri(bar) - mean) / deviation
        return both_above(height, height.T, covariance / variance)

    def _with_overrated(self, masses: Floats) -> Floats:
        if not self.overrated:
            return masses
        low, high = (self.accuracy * spreads for spreads in OVERRATED_BY)  # in spreads of the reward
        moved = (1 - self.overrated) * np.eye(len(POINTS)) + self.overrated * _moved_up(low, high)
        both: Floats = moved @ masses @ moved.T
        return both


@dataclass(frozen=True)
class Sums:
    """A family of optima as in `allgood/idealised/tilts.py`: the sum of a utility per property.

    Attributes:
        world: Of the rewards.
        utilities: [prompts, properties, points].
    """

    world: NormalWorld
    utilities: Floats

    @property
    def num_prompts(self) -> int:
        """One stands for all where utilities are the same on all."""
        return len(self.utilities)

    def at(self, inverse_gamma: Floats) -> Optimum:
        """The optimum on every prompt for its 1 / gamma, [prompts]; gold win rates are not computed (NaN)."""
        centred = self.utilities - self.utilities.max(-1, keepdims=True)
        first, second = np.moveaxis(np.exp(np.maximum(inverse_gamma[:, None, None] * centred, -700.0)), 1, 0)
        masses = self.world.masses
        mass = _sum(first, masses, second)
        utility = _sum(first * centred[:, 0], masses, second) + _sum(first, masses, second * centred[:, 1])
        good = np.stack([_sum(first, at_bar, second) for at_bar in self.world.good], axis=-1)
        near_end = POINTS[-1] - POINTS < _NEAR_END
        edge = _sum(first * near_end, masses, second) + _sum(first, masses, second * near_end)
        return Optimum(
            inverse_gamma * utility / mass - np.log(mass),
            good / mass[:, None],
            np.full((len(mass), 2), np.nan),
            edge / mass,
        )


def both_above(first: Floats, second: Floats, correlation: float) -> Floats:
    """P(Z1 > first, Z2 > second) of standard normals with this correlation, elementwise, by Owen's T function."""
    h, k = (np.where(abs(value) < _ZERO, _ZERO, -value) for value in (first, second))  # by symmetry P(Z1 < h, Z2 < k)
    root = np.sqrt(1 - correlation**2)
    of_h, of_k = (k - correlation * h) / (h * root), (h - correlation * k) / (k * root)
    opposite = np.where(np.sign(h) == np.sign(k), 0.0, 0.5)
    probability: Floats = 0.5 * (ndtr(h) + ndtr(k)) - owens_t(h, of_h) - owens_t(k, of_k) - opposite
    return np.clip(probability, 0, 1)


def _sum(first: Floats, masses: Floats, second: Floats) -> Floats:
    """[prompts]: of masses [points, points] under a weight of either reward [prompts, points]."""
    total: Floats = ((first @ masses) * second).sum(-1)
    return total


def _moved_up(low: float, high: float) -> Floats:
    """[points, points]: where mass goes that is moved up by something between, uniformly."""
    distance, step = POINTS[:, None] - POINTS[None, :], _step()
    inside = np.minimum(distance + step / 2, high) - np.maximum(distance - step / 2, low)
    shares: Floats = np.clip(inside, 0, None) / (high - low)
    return shares


def _step() -> float:
    return float(POINTS[1] - POINTS[0])
