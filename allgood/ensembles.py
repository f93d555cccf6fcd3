"""Ensembles of reward models inside one property, combined before the reference is subtracted.

Members are [members, ...]: each member's rewards of the same responses. References must come from the same combination.
"""

from __future__ import annotations

import math

from torch import Tensor

from allgood.checks import in_float, require_finite, require_samples
from allgood.number_checks import Number


def ensemble_mean(members: Tensor) -> Tensor:
    """Mean over members.

    Args:
        members: Rewards [members, ...], at least 1 member.

    Raises:
        ValueError: No member, or a value is not finite.

    Source:
        Eisenstein et al. 2023, arXiv:2312.09244.
    """
    return _checked(members).mean(0)


def ensemble_median(members: Tensor) -> Tensor:
    """Median over members, the mean of the middle two when their number is even. Arguments and errors as in
    `ensemble_mean`.
    """
    ordered = _checked(members).sort(0).values
    num_members = len(ordered)
    return 0.5 * (ordered[(num_members - 1) // 2] + ordered[num_members // 2])


def ensemble_min(members: Tensor) -> Tensor:
    """The most pessimistic member. Arguments and errors as in `ensemble_mean`."""
    return _checked(members).amin(0)


def ensemble_lower_bound(members: Tensor, *, penalty: Number = 1.0) -> Tensor:
    """Mean - penalty * std over members: disagreement costs.

    Args:
        members: Rewards [members, ...], at least 2 members.
        penalty: lambda >= 0, in standard deviations (population, as the members are all there are).

    Raises:
        ValueError: Fewer than 2 members, a value is not finite, or a negative penalty.

    Source:
        In the spirit of uncertainty-weighted optimisation, Coste et al. 2024, which subtracts the variance.
    """
    if not (math.isfinite(penalty) and penalty >= 0):
        raise ValueError(f"penalty must be finite and at least 0, got {penalty}")
    values = _checked(members)
    if len(values) < 2:
        raise ValueError(f"members must be at least 2 for a standard deviation, got {len(values)}")
    variance = values.var(0, correction=0)
    # Where all members agree the slope of a square root is infinite; there the penalty is 0 and so is its gradient.
    agree = variance == 0
    std = variance.masked_fill(agree, 1.0).sqrt().masked_fill(agree, 0.0)
    return values.mean(0) - penalty * std


def _checked(members: Tensor) -> Tensor:
    if members.ndim < 1 or members.shape[0] == 0:
        raise ValueError(f"members must be [members, ...] with at least 1 member, got shape {tuple(members.shape)}")
    require_samples("members", members[0])
    require_finite("members", members)
    return in_float(members)
