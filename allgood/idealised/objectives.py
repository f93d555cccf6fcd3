"""The objectives that the map compares, and the parameters that some of them choose on validation prompts.

Margins are rewards minus references in nats, so that `allgood`'s own transforms and combinations apply.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property, partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from allgood import transforms
from allgood.idealised.cells import BARS, MAIN_BAR, Cell
from allgood.idealised.laws import (
    COARSE,
    FINE,
    Lattice,
    Law,
    absolute_bars,
    law_of,
    quantile,
    standard_deviation,
)
from allgood.idealised.prompts import Prompts
from allgood.idealised.tilts import Additive, Family, fold

Floats = NDArray[np.float64]

RAW, WEIGHTED, CAPPED = "raw sum", "weighted sum", "capped sum"
Z_SCORE, CAPPED_Z = "z-scored sum", "capped z-scored sum"
LSC, TUNED_LSC, PAR, LOGIT, MINIMUM = "LSC sum", "LSC sum, tuned reference", "PAR sum", "logit of product", "minimum"

RIVALS = (RAW, WEIGHTED, CAPPED, Z_SCORE, CAPPED_Z)
"""Without log-sigmoid: what the LSC sum with a tuned reference is compared with, at their best."""

NO_CAP = 1.0
CAPS = (0.8, 0.9, 0.95, 0.98, 0.99, NO_CAP)
REFERENCES = (0.5, 0.7, 0.85, 0.95, 0.99)
WEIGHT_RATIOS = tuple(8.0 ** (power / 4) for power in range(-4, 5))  # 1/8 to 8, of the first over the second property

CANDIDATES: Mapping[str, tuple[float | None, ...]] = {
    RAW: (None,),
    WEIGHTED: WEIGHT_RATIOS,
    CAPPED: CAPS,
    Z_SCORE: (None,),
    CAPPED_Z: CAPS,
    LSC: (None,),
    TUNED_LSC: REFERENCES,
    PAR: (None,),
    LOGIT: (None,),
    MINIMUM: (None,),
}
"""Per objective the parameters to choose from: a ratio of weights, or a quantile of pi_0's rewards on the prompt, where
rewards end (cap) or the reference lies."""


def candidates(objective: str, cell: Cell) -> tuple[float | None, ...]:
    """The parameters to choose from in a cell: weights only where properties differ, since else all weights are 1."""
    return (1.0,) if objective == WEIGHTED and cell.ratio == 1 else CANDIDATES[objective]


@dataclass(frozen=True)
class Rewards:
    """What every objective is made of: pi_0's rewards on prompts, from which families of optima are made.

    Attributes:
        spreads: Nats per spread, [prompts, properties].
        law: Of rewards in spreads, on a lattice.
        references: r_ref in nats, [prompts, properties].
        lattice: For objectives that are sums; those that are not have a coarser one.
    """

    spreads: Floats
    law: Callable[[Lattice], Law]
    references: Floats
    lattice: Lattice = FINE

    def family(self, objective: str, parameter: float | None) -> Family:
        """All optima of an objective; its parameter is one of `CANDIDATES`."""
        if objective in (LOGIT, MINIMUM):
            return self._combined(objective)
        return Additive(self.law(self.lattice), self._utilities(objective, parameter))

    def in_nats(self, in_spreads: Floats) -> Floats:
        """Values of the law, [prompts or 1, properties or 1], as [prompts, properties]."""
        nats: Floats = self.spreads * in_spreads
        return nats

    def _utilities(self, objective: str, parameter: float | None) -> Floats:
        """[prompts, properties, points]."""
        law = self.law(self.lattice)
        rewards = self._on(self.lattice)
        if objective == WEIGHTED:
            assert parameter is not None
            num_properties = self.spreads.shape[1]
            levels = np.linspace(0.5, -0.5, num_properties) if num_properties == 2 else np.zeros(1)
            return rewards * parameter ** levels[:, None]
        if objective in (CAPPED, CAPPED_Z):
            assert parameter is not None
            rewards = self._capped(rewards, parameter)
        if objective in (Z_SCORE, CAPPED_Z):
            deviations = self.in_nats(standard_deviation(law))[..., None]
            return (rewards / deviations)[: law.tables.shape[0]]  # the same on all prompts of a law
        if objective in (LSC, TUNED_LSC):
            references = self.references if parameter is None else self.in_nats(quantile(law, parameter))
            return _of_margins(transforms.log_sigmoid, rewards - references[..., None])
        if objective == PAR:
            return _of_margins(transforms.sigmoid, rewards - self.references[..., None])
        return rewards

    def _capped(self, rewards: Floats, q: float) -> Floats:
        if q == NO_CAP:
            return rewards
        return np.minimum(rewards, self.in_nats(quantile(self.law(self.lattice), q))[..., None])

    def _combined(self, objective: str) -> Family:
        """Minimum of the log-sigmoids, or logit of the product of the sigmoids."""
        margins = self._on(COARSE) - self.references[..., None]
        if objective == MINIMUM:
            return fold(self.law(COARSE), margins, np.minimum, partial(_of_margins, transforms.log_sigmoid))
        return fold(self.law(COARSE), margins, _logit_of_product, lambda logits: logits)

    def _on(self, lattice: Lattice) -> Floats:
        return self.spreads[..., None] * lattice.points


@dataclass(frozen=True)
class World:
    """A cell with its prompts, from which families of optima are made."""

    cell: Cell
    prompts: Prompts

    def family(self, objective: str, parameter: float | None) -> Family:
        """All optima of an objective in this world."""
        return self._rewards.family(objective, parameter)

    @cached_property
    def _rewards(self) -> Rewards:
        return Rewards(self.prompts.spreads, self._law, self.references)

    @cached_property
    def references(self) -> Floats:
        """r_ref in nats, [prompts, properties]."""
        if self.cell.absolute_reference:
            return np.full_like(self.prompts.spreads, absolute_bars(self.prompts.spreads)[BARS.index(MAIN_BAR)])
        in_nats: Floats = self.prompts.spreads * quantile(self._law(FINE), self.cell.reference)
        return in_nats

    @cached_property
    def _law(self) -> Callable[[Lattice], Law]:
        bars = None
        if self.cell.absolute_bar:
            bars = absolute_bars(self.prompts.spreads) / self.prompts.spreads[..., None]
        return cache(partial(law_of, self.cell, bars=bars))

    @cached_property
    def all_good_before(self) -> Floats:
        """P(all good) under pi_0, [prompts, bars]."""
        family = self.family(RAW, None)
        return family.at(np.zeros(family.num_prompts)).all_good


def _of_margins(transform: Callable[[Tensor, float], Tensor], margins: Floats) -> Floats:
    utilities: Floats = transform(torch.from_numpy(margins), 0.0).numpy()
    return utilities


def _logit_of_product(first: Floats, second: Floats) -> Floats:
    """Logit of sigma(first) sigma(second), as `allgood.aggregation.logit_of_product`; of outer shapes, so in numpy.

    With e^-a for the product it is -log(e^a - 1), and a is a sum over the two sides.
    """
    a = np.logaddexp(0, -first) + np.logaddexp(0, -second)
    logits: Floats = -a - np.log(-np.expm1(-a))
    return logits
