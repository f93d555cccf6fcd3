"""Optima of KL-regularised problems on the law of a cell: pi_0 exp(u / gamma) / Z, for every prompt at once.

A utility that is a sum over properties factorises given the shared factor. One that is not (minimum, logit of the
product) is folded: two properties at a time make one value on a grid, whose law is kept on a finer line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from allgood.idealised.laws import EDGE, MASS, NUM_OTHERS, SCORE, Law

Floats = NDArray[np.float64]
Combine = Callable[[Floats, Floats], Floats]

GOOD = slice(1, SCORE)
_LINE = 2048  # points of a folded law
_LEAST = -700.0  # exponents below have weight 0 to rounding


@dataclass(frozen=True)
class Optimum:
    """What an optimum gives on every prompt.

    Attributes:
        kl: [prompts], in nats.
        all_good: Probability that all properties are over their bar, [prompts, bars].
        gold_win: Per property, that gold beats a response of pi_0, ties one half, [prompts, properties].
        edge: Mass near the upper end of the lattice, [prompts]; much of it means that the lattice is too short.
    """

    kl: Floats
    all_good: Floats
    gold_win: Floats
    edge: Floats


@runtime_checkable
class Family(Protocol):
    """All optima of one utility."""

    @property
    def num_prompts(self) -> int:
        """One, where the optimum is the same on all prompts."""
        ...

    def at(self, inverse_gamma: Floats) -> Optimum:
        """The optimum on every prompt for its 1 / gamma, [prompts]."""
        ...


@dataclass(frozen=True)
class Additive:
    """u = sum of utilities per property, [prompts, properties, points]; one prompt may stand for all."""

    law: Law
    utilities: Floats

    @property
    def num_prompts(self) -> int:
        """With a law per prompt as many as it has, else as utilities."""
        return max(len(self.utilities), len(self.law.tables))

    @cached_property
    def _utilities_below_best(self) -> Floats:
        return _centred(self.utilities, self.law.tables[..., MASS].sum(-1) > 0)

    def at(self, inverse_gamma: Floats) -> Optimum:
        """The optimum on every prompt."""
        centred = self._utilities_below_best
        weights = np.exp(np.clip(centred * inverse_gamma[:, None, None], _LEAST, 0))
        sums = _summed(weights, self.law.tables)  # [prompts, properties, factors, quantities]
        moments = _summed(weights * centred, self.law.tables[..., MASS : MASS + 1])[..., 0]
        mass = sums[..., MASS]
        with np.errstate(divide="ignore", invalid="ignore"):
            log_factor = np.log(self.law.factor) + np.log(mass).sum(1)
            shares = np.where(mass[..., None] > 0, sums / mass[..., None], 0.0)
            mean_utility = np.where(mass > 0, moments / mass, 0.0)
            log_z = _log_of_sum(log_factor)
        factor = np.exp(log_factor - log_z[:, None])  # under the optimum
        return Optimum(
            inverse_gamma * np.einsum("pm,pkm->p", factor, mean_utility) - log_z,
            np.einsum("pm,pmb->pb", factor, shares[..., GOOD].prod(1)),
            np.einsum("pm,pkm->pk", factor, shares[..., SCORE]),
            np.einsum("pm,pkm->p", factor, shares[..., EDGE]),
        )


@dataclass(frozen=True)
class Folded:
    """A utility on a line: `utilities` [prompts, line], `tables` [prompts, line, quantities], a score per property."""

    utilities: Floats
    tables: Floats
    num_bars: int

    @property
    def num_prompts(self) -> int:
        """As many as there are tables."""
        return len(self.utilities)

    @cached_property
    def _utilities_below_best(self) -> Floats:
        return _centred(self.utilities, self.tables[..., MASS] > 0)

    def at(self, inverse_gamma: Floats) -> Optimum:
        """The optimum on every prompt."""
        centred = self._utilities_below_best
        weights = np.exp(np.clip(centred * inverse_gamma[:, None], _LEAST, 0))
        sums = np.einsum("pl,plq->pq", weights, self.tables)
        mass = sums[:, MASS]
        mean_utility = np.einsum("pl,pl->p", weights * centred, self.tables[..., MASS]) / mass
        shares = sums / mass[:, None]
        edge = 1 + self.num_bars
        return Optimum(
            inverse_gamma * mean_utility - np.log(mass),
            shares[:, 1:edge],
            shares[:, edge + 1 :],
            shares[:, edge],
        )


def fold(law: Law, margins: Floats, combine: Combine, utility: Callable[[Floats], Floats]) -> Folded:
    """Optima of utility(combine(... combine(z_1, z_2) ..., z_K)) for margins [prompts, properties, points]."""
    num_prompts = max(margins.shape[0], law.tables.shape[0])
    lines, tables = zip(*(_folded(law, margins, prompt, combine) for prompt in range(num_prompts)), strict=True)
    return Folded(utility(np.stack(lines)), np.stack(tables), law.num_bars)


def _log_of_sum(logarithms: Floats) -> Floats:
    """log of the sum over the last axis of what has these logarithms."""
    if logarithms.shape[-1] == 1:
        return logarithms[..., 0]
    largest = logarithms.max(-1, keepdims=True)
    total: Floats = largest[..., 0] + np.log(np.exp(logarithms - largest).sum(-1))
    return total


def _centred(utilities: Floats, has_mass: NDArray[np.bool_]) -> Floats:
    """Utilities with the best one that has any mass at 0; those above it weigh nothing."""
    centred: Floats = utilities - np.where(has_mass, utilities, -np.inf).max(-1, keepdims=True)
    return centred


def _summed(weights: Floats, tables: Floats) -> Floats:
    """[prompts, properties, factors, quantities]: the tables' sums over points under weights."""
    if tables.shape[0] > 1:  # a law per prompt and property
        flat = weights[:, :, None, :] @ tables.reshape(*tables.shape[:3], -1)
        return flat.reshape(*tables.shape[:2], *tables.shape[3:])
    by_property = []
    for place in range(weights.shape[1]):
        table = tables[0, min(place, tables.shape[1] - 1)]
        flat = weights[:, place] @ table.reshape(table.shape[0], -1)
        by_property.append(flat.reshape(-1, *table.shape[1:]))
    return np.stack(by_property, axis=1)


def _folded(law: Law, margins: Floats, prompt: int, combine: Combine) -> tuple[Floats, Floats]:
    """Line [line] and tables [line, quantities] of one prompt.

    Two properties are summed over the shared factor at once; with more, every value of the factor has its own chain.
    """
    own = law.tables[min(prompt, law.tables.shape[0] - 1)]  # [properties or 1, points, factors, quantities]
    values = margins[min(prompt, margins.shape[0] - 1)]
    num_factors = len(law.factor)
    groups = [slice(None)] if len(values) <= 2 else [slice(index, index + 1) for index in range(num_factors)]
    chains = [_chain(values, own[:, :, group], law.factor[group], combine) for group in groups]
    return chains[0][0], np.sum([tables for _, tables in chains], axis=0)


def _chain(values: Floats, own: Floats, factor: Floats, combine: Combine) -> tuple[Floats, Floats]:
    line, tables = values[0], _scores_last(own[0]) * factor[None, :, None]
    if len(values) == 1:
        return line, tables.sum(1)
    for place in range(1, len(values)):
        other = _scores_last(own[min(place, own.shape[0] - 1)])
        line, summed = _on_line(combine(line[:, None], values[place][None, :]), _joint(tables, other))
        tables = summed[:, None]
    return line, summed


def _scores_last(table: Floats) -> Floats:
    """[..., quantities] with the score after the edge, where further properties put theirs."""
    return np.concatenate([table[..., :SCORE], table[..., [EDGE, SCORE]]], axis=-1)


def _joint(first: Floats, second: Floats) -> Iterator[Floats]:
    """Of two sides [points, factors, quantities], the joint quantities [points, points], summed over factors."""

    def product(one: int, other: int) -> Floats:
        joint: Floats = first[..., one] @ second[..., other].T
        return joint

    edge = second.shape[-1] - NUM_OTHERS + 1  # after the mass and the bars
    yield product(MASS, MASS)
    for bar in range(1, edge):
        yield product(bar, bar)
    yield product(edge, MASS) + product(MASS, edge)
    for score in range(edge + 1, first.shape[-1]):
        yield product(score, MASS)
    yield product(MASS, edge + 1)


def _on_line(grid: Floats, quantities: Iterable[Floats]) -> tuple[Floats, Floats]:
    """Masses of a grid of values laid on evenly spaced ones: each is split so that its value keeps its mean."""
    low, high = float(grid.min()), float(grid.max())
    step = (high - low) / (_LINE - 1)
    place = (grid.ravel() - low) / step
    left = np.minimum(place.astype(np.int64), _LINE - 2)
    share = place - left
    columns = []
    for quantity in quantities:
        flat = quantity.ravel()
        upper = flat * share
        columns.append(np.bincount(left, flat - upper, _LINE) + np.bincount(left + 1, upper, _LINE))
    return low + step * np.arange(_LINE, dtype=np.float64), np.stack(columns, axis=-1)
