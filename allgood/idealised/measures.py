"""What is measured of an optimum over the prompts of a cell, and the best that any policy could reach at a KL."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import rel_entr

from allgood.idealised.prompts import Prompts
from allgood.idealised.tilts import Family

Floats = NDArray[np.float64]

IMPROVED = 0.55
"""A prompt counts as improved when gold of every property beats pi_0 at least this often (a half is no change)."""
WORST_SHARE = 0.1


@dataclass(frozen=True)
class Curves:
    """Optima of one objective at rising KLs, on every prompt of a cell.

    Attributes:
        kl: [targets, prompts], in nats.
        all_good: [targets, prompts, bars].
        gold_win: [targets, prompts, properties].
        edge: [targets], the largest mass near the end of a lattice.
    """

    kl: Floats
    all_good: Floats
    gold_win: Floats
    edge: Floats


def curves(family: Family, inverse_gammas: Floats, num_prompts: int) -> Curves:
    """The optima for 1 / gamma [targets, prompts]; a family of one prompt stands for all of them."""
    found = [family.at(inverse_gamma) for inverse_gamma in inverse_gammas]

    def stacked(values: Sequence[Floats]) -> Floats:
        together = np.stack(values)
        return np.broadcast_to(together, (len(values), num_prompts, *together.shape[2:]))

    return Curves(
        stacked([optimum.kl for optimum in found]),
        stacked([optimum.all_good for optimum in found]),
        stacked([optimum.gold_win for optimum in found]),
        np.array([optimum.edge.max() for optimum in found]),
    )


def worst_tenth(all_good: Floats) -> Floats:
    """Mean over the tenth of the prompts with the lowest rate: [targets, prompts, bars] to [targets, bars]."""
    count = max(1, round(WORST_SHARE * all_good.shape[1]))
    lowest: Floats = np.sort(all_good, axis=1)[:, :count].mean(1)
    return lowest


def share_not_improved(gold_win: Floats) -> Floats:
    """Of prompts on which some property is not improved: [targets, prompts, properties] to [targets]."""
    share: Floats = (gold_win.min(-1) < IMPROVED).mean(1)
    return share


def standard_error(values: Floats, prompts: Prompts) -> Floats:
    """[targets, bars], of the mean over prompts of values [targets, prompts, bars]: the scatter of the replicates."""
    means = np.stack([prompts.by_replicate(at_target).mean(1) for at_target in values])  # [targets, replicates, bars]
    error: Floats = means.std(1, ddof=1) / np.sqrt(prompts.num_replicates)
    return error


def best_rate(before: float, kl: float) -> float:
    """The highest P(all good) of any policy at this KL from pi_0, where it is `before`.

    pi_0 given all good, mixed with pi_0 given not: the rate p solves KL(Bernoulli(p) || Bernoulli(before)) = kl.

    >>> round(best_rate(0.15, 1.0), 3)
    0.805
    """
    if kl >= -np.log(before):
        return 1.0

    def excess(p: float) -> float:
        return float(rel_entr(p, before) + rel_entr(1 - p, 1 - before)) - kl

    return float(brentq(excess, before, 1.0))
