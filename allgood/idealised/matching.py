"""1 / gamma at which optima have a given KL: one for all prompts at a mean KL, or one per prompt at equal KL."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from allgood.idealised.tilts import Family

Floats = NDArray[np.float64]
Curves = Callable[[Floats], Floats]  # KL, in nats, of log(1 / gamma)

_LOWEST, _HIGHEST = -14.0, 12.0  # of log(1 / gamma); beyond, the best reward of a prompt has all the mass
_MAX_ITERATIONS = 60
_LEAST_KL = 1e-13  # nats, of rounding
_STRIDES = (1.5, 3.0)  # first and largest, in which a target is looked for: far beyond it every mass underflows
_CLOSE = 3e-4  # relative, of the KL


def at_mean_kl(family: Family, targets: Sequence[float]) -> Floats:
    """1 / gamma [targets, prompts], the same on all prompts, at which the mean KL meets each of the rising targets.

    Where the utility cannot reach a target (what is best by it has a larger share than e^-target), it is the highest.
    """

    def mean_kl(log_inverse: Floats) -> Floats:
        kl: Floats = family.at(np.repeat(np.exp(log_inverse), family.num_prompts)).kl
        mean: Floats = kl.mean(keepdims=True)
        return mean

    inverse: Floats = np.repeat(np.exp(_roots(mean_kl, 1, targets)), family.num_prompts, axis=1)
    return inverse


def at_kl_per_prompt(family: Family, targets: Sequence[float]) -> Floats:
    """1 / gamma [targets, prompts] at which each prompt's KL meets each of the rising targets, or the highest."""
    inverse: Floats = np.exp(_roots(lambda place: family.at(np.exp(place)).kl, family.num_prompts, targets))
    return inverse


def _roots(kl: Curves, num: int, targets: Sequence[float]) -> Floats:
    """Where rising curves meet the targets, [targets, num]; each search starts where the one before ended."""
    found = [np.full(num, _LOWEST)]
    log_kl = np.log(np.maximum(kl(found[0]), _LEAST_KL))
    for target in targets:
        place, log_kl = _root(kl, found[-1], log_kl, np.log(target))
        found.append(place)
    return np.stack(found[1:])


def _root(kl: Curves, low: Floats, log_kl: Floats, log_target: float) -> tuple[Floats, Floats]:
    """Where the curves meet the target, and their log KL there.

    False position on logarithms, where KL is nearly a straight line; halved where it is slow (Illinois).
    """

    def excess(place: Floats) -> Floats:
        return np.log(np.maximum(kl(place), _LEAST_KL)) - log_target

    at_low, stride = log_kl - log_target, _STRIDES[0]
    high, at_high = low, at_low
    while np.any((at_high < 0) & (high < _HIGHEST)):
        behind = at_high < 0
        low, at_low = np.where(behind, high, low), np.where(behind, at_high, at_low)
        high = np.where(behind, np.minimum(high + stride, _HIGHEST), high)
        at_high, stride = excess(high), _STRIDES[1]
    place, found = high, at_high
    side = np.zeros_like(low)
    for iteration in range(_MAX_ITERATIONS):
        if np.all((abs(found) < _CLOSE) | (at_high < 0)):
            break
        share = 0.5 if iteration % 4 == 3 else at_high / np.maximum(at_high - at_low, 1e-300)
        place = np.where((at_high < 0) | (abs(found) < _CLOSE), place, high - share * (high - low))
        found = excess(place)
        above = found > 0
        at_low = np.where(above & (side > 0), at_low / 2, at_low)
        at_high = np.where(~above & (side < 0) & (at_high > 0), at_high / 2, at_high)
        side = np.where(above, 1.0, -1.0)
        high, at_high = np.where(above, place, high), np.where(above, found, at_high)
        low, at_low = np.where(above, low, place), np.where(above, at_low, found)
    return place, found + log_target
