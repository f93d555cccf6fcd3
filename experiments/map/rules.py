"""Rules of thumb as statements about stored cells: each holds where its sign is the same in every cell that it names.

A rule names objectives, cells, KLs and bars; its numbers are read off the stored results, and so is whether it holds.
Cells whose lattice does not hold the optimum give no rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Literal

import numpy as np

from allgood.idealised.cells import BARS, MAIN_BAR, TARGET_KLS, Cell
from allgood.idealised.objectives import LSC
from experiments.map.stored import Map

Sign = Literal["above", "below", "equal"]

EQUAL_WITHIN = 0.02
"""All-good rates that differ by no more are called equal."""
MIN_ERRORS = 2.0  # standard errors by which a difference must clear 0


@dataclass(frozen=True)
class Rule:
    """The first objective against the second.

    Attributes:
        text: What the rule says, in words.
        first: An objective.
        second: Another; with several, the best of them in each cell.
        sign: Whether the first is above or below, or they are equal within `EQUAL_WITHIN`.
        cells: Worlds.
        kls: Of TARGET_KLS.
        bars: Of BARS.
    """

    text: str
    first: str
    second: tuple[str, ...]
    sign: Sign
    cells: tuple[Cell, ...]
    kls: tuple[float, ...]
    bars: tuple[float, ...] = (MAIN_BAR,)


@dataclass(frozen=True)
class Found:
    """What the stored cells say about a rule.

    Attributes:
        low: The smallest difference, first minus second.
        median: The middle one.
        high: The largest.
        error: The largest standard error of a difference.
        count: Differences that are trusted.
        left_out: Those that are not.
        against: (cell, KL, bar) where the sign is another, or is not cleared by `MIN_ERRORS` standard errors.
    """

    low: float
    median: float
    high: float
    error: float
    count: int
    left_out: int
    against: tuple[tuple[Cell, float, float], ...]

    @property
    def holds(self) -> bool:
        """In every cell that is trusted."""
        return not self.against


def check(rule: Rule, found: Map) -> Found:
    """The differences of a rule, over its cells, KLs and bars."""
    differences, errors, against, left_out = [], [], [], 0
    for cell, kl, bar in product(rule.cells, rule.kls, rule.bars):
        target = TARGET_KLS.index(kl)
        if not all(found.is_trusted(cell, name)[target] for name in (rule.first, *rule.second)):
            left_out += 1
            continue
        rival = max(rule.second, key=lambda name: found.all_good(cell, name, bar=bar)[target])
        difference = float((found.all_good(cell, rule.first, bar=bar) - found.all_good(cell, rival, bar=bar))[target])
        # Errors are stored of the LSC sum minus each other; of two others they add at most like this.
        compared = [name for name in (rule.first, rival) if name != LSC]
        error = float(np.linalg.norm([found.error(cell, name, bar=bar)[target] for name in compared]))
        differences.append(difference)
        errors.append(error)
        if not _agrees(rule.sign, difference, error):
            against.append((cell, kl, bar))
    low, median, high = np.quantile(differences, [0, 0.5, 1]).tolist()
    return Found(low, median, high, max(errors), len(differences), left_out, tuple(against))


def bars_that_hold(rule: Rule, found: Map) -> tuple[float, ...]:
    """Of all bars those at which the rule's sign holds in every cell."""
    return tuple(bar for bar in BARS if check(replace(rule, bars=(bar,)), found).holds)


def _agrees(sign: Sign, difference: float, error: float) -> bool:
    if sign == "equal":
        return abs(difference) <= EQUAL_WITHIN
    return (difference if sign == "above" else -difference) > MIN_ERRORS * error


def bars_in_words(bars: Sequence[float]) -> str:
    """Bars as quantiles."""
    return ", ".join(f"{bar:.0%}".replace("%", " %") for bar in bars)
