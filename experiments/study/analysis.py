"""From the arms of several seeds to differences at matched KL: interpolation per seed, t-intervals.

Objectives have different scales, so they are never compared at equal gamma. Each seed's arms and its SFT policy (KL 0)
make a curve over the measured KL; it is interpolated, never extrapolated. A seed redraws everything: it is the unit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from allgood.intervals import smallest_detectable, t_interval


@dataclass(frozen=True)
class Curve:
    """One objective on one seed: a metric over the measured KL, SFT included, in order of KL."""

    kls: tuple[float, ...]
    values: tuple[float, ...]

    def at(self, kl: float) -> float | None:
        """Linear interpolation; None outside the measured range."""
        if not self.kls[0] <= kl <= self.kls[-1]:
            return None
        return float(np.interp(kl, self.kls, self.values))


@dataclass(frozen=True)
class Difference:
    """Mean over seeds of a paired difference, its 95 % t-interval, and what the study could have seen.

    `detectable` is the smallest true difference that a two-sided 5 % test would have found with power 0.8.
    """

    mean: float
    low: float
    high: float
    detectable: float
    num_seeds: int


def curve(points: Sequence[tuple[float, float]]) -> Curve:
    """A curve from (KL, value) points in any order.

    Raises:
        ValueError: Fewer than two points.
    """
    if len(points) < 2:
        raise ValueError(f"a curve needs at least 2 points, got {len(points)}")
    ordered = sorted(points)
    return Curve(tuple(kl for kl, _ in ordered), tuple(value for _, value in ordered))


def matched_difference(first: Sequence[Curve], second: Sequence[Curve], kl: float) -> Difference | None:
    """`first` minus `second` at `kl`, paired by seed; seeds that do not reach it on both sides are left out.

    None with fewer than two seeds left.
    """
    pairs = [(a.at(kl), b.at(kl)) for a, b in zip(first, second, strict=True)]
    differences = np.array([a - b for a, b in pairs if a is not None and b is not None])
    return paired(differences) if len(differences) >= 2 else None


def paired(differences: np.ndarray) -> Difference:
    """Mean and t-interval of one difference per seed."""
    found = t_interval(differences)
    detectable = smallest_detectable(found.standard_error, len(differences))
    return Difference(found.value, found.low, found.high, detectable, len(differences))
