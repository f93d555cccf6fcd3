"""Trade-offs between a gain and its cost: which settings nobody beats in both, and how much ground they cover.

Here the gain is a win rate and the cost is KL(pi || pi_0), so that a front says what each nat buys. Everything is on
plain numbers; which numbers may choose (validation) and which may only report (test) is the caller's business.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from allgood.number_checks import Number


def pareto_front(gains: Sequence[Number], costs: Sequence[Number]) -> NDArray[np.bool_]:
    """Which points are on the front: no other point has at least the gain at no more cost, and is better in one.

    Args:
        gains: [points], more is better.
        costs: [points], less is better.

    Returns:
        [points]; equal points are on the front together.

    Raises:
        ValueError: The lengths differ, or a number is not finite (leave failed settings out, and count them).

    >>> pareto_front([0.6, 0.7, 0.65], [1.0, 2.0, 3.0]).tolist()
    [True, True, False]
    """
    gain, cost = _checked(gains, costs)
    as_good = (gain[None, :] >= gain[:, None]) & (cost[None, :] <= cost[:, None])  # [point, other]
    better = (gain[None, :] > gain[:, None]) | (cost[None, :] < cost[:, None])
    on_front: NDArray[np.bool_] = np.logical_not((as_good & better).any(axis=1))
    return on_front


def hypervolume(gains: Sequence[Number], costs: Sequence[Number], *, worst_gain: Number, worst_cost: Number) -> float:
    """The area that the points cover towards a worst corner, in units of gain times cost.

    A point covers what has less gain (down to `worst_gain`) and more cost (up to `worst_cost`); a point beyond the
    corner covers nothing. With win rates against `worst_gain` 0.5 and KL up to a budget it is the win rate above one
    half, integrated over the KL budget.

    Args:
        gains: [points], more is better.
        costs: [points], less is better.
        worst_gain: Gain of the corner.
        worst_cost: Cost of the corner.

    Raises:
        ValueError: The lengths differ, or a number is not finite.

    Source:
        Zitzler and Thiele 1998, for two objectives.

    >>> round(hypervolume([0.6, 0.7], [1.0, 2.0], worst_gain=0.5, worst_cost=3.0), 6)
    0.3
    """
    gain, cost = _checked(gains, costs)
    _checked([worst_gain], [worst_cost])
    order = np.argsort(cost, kind="stable")
    area, best, at = 0.0, float(worst_gain), float(worst_cost)
    for index in order:
        if cost[index] >= worst_cost:
            break
        area += (best - worst_gain) * max(0.0, cost[index] - at)
        at, best = float(cost[index]), max(best, float(gain[index]))
    return float(area + (best - worst_gain) * max(0.0, float(worst_cost) - at))


def _checked(gains: Sequence[Number], costs: Sequence[Number]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    gain, cost = np.asarray(gains, dtype=np.float64), np.asarray(costs, dtype=np.float64)
    if gain.ndim != 1 or gain.shape != cost.shape:
        raise ValueError(f"gains and costs must both be [points], got shapes {gain.shape} and {cost.shape}")
    if not (np.isfinite(gain).all() and np.isfinite(cost).all()):
        raise ValueError("gains and costs must be finite; leave failed settings out, and count them")
    return gain, cost
