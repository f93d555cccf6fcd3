"""The numbers of one cell: every objective at every KL, tuned where it has something to tune."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allgood.idealised.cells import BARS, MAIN_BAR, TARGET_KLS, Cell, Errors
from allgood.idealised.matching import at_kl_per_prompt, at_mean_kl
from allgood.idealised.measures import Curves, curves, share_not_improved, standard_error, worst_tenth
from allgood.idealised.objectives import CANDIDATES, LSC, World, candidates
from allgood.idealised.prompts import VALIDATION_SEED, Prompts, prompts_of

Floats = NDArray[np.float64]

MEAN, PER_PROMPT = "mean", "per prompt"
_DIGITS = 4


def cell_result(cell: Cell) -> dict[str, Any]:
    """Everything that is stored of a cell: `cell`, `all_good_before` by bar, `objectives` by name and matching.

    Equal KL on every prompt is computed only where prompts differ; elsewhere it is the same.
    """
    world = World(cell, prompts_of(cell))
    is_varied = world.prompts.num_replicates > 1
    validation = World(cell, prompts_of(cell, seed=VALIDATION_SEED)) if is_varied else world
    chosen = {objective: _chosen(objective, validation) for objective in CANDIDATES}
    matchings = [MEAN, PER_PROMPT] if is_varied else [MEAN]
    by_matching = {matching: _compared(world, chosen, matching) for matching in matchings}
    return {
        "cell": asdict(cell),
        "all_good_before": _rounded(world.all_good_before.mean(0), digits=9),
        "objectives": {
            objective: {matching: found[objective] for matching, found in by_matching.items()}
            for objective in CANDIDATES
        },
    }


def cell_of(stored: Mapping[str, Any]) -> Cell:
    """The cell that a stored result is of."""
    return Cell(**{**stored["cell"], "errors": Errors(**stored["cell"]["errors"])})


def _chosen(objective: str, validation: World) -> list[list[float | None]]:
    """Parameters [targets][bars] with the best all-good rate at a mean KL, on other prompts of the cell."""
    parameters = candidates(objective, validation.cell)
    if len(parameters) == 1:
        return [[parameters[0]] * len(BARS)] * len(TARGET_KLS)
    rates = []
    for parameter in parameters:
        family = validation.family(objective, parameter)
        found = curves(family, at_mean_kl(family, TARGET_KLS), len(validation.prompts.spreads))
        rates.append(found.all_good.mean(1))  # [targets, bars]
    best = np.argmax(np.stack(rates).round(6), axis=0)  # of equals the first
    return [[parameters[index] for index in row] for row in best]


def _compared(
    world: World, chosen: Mapping[str, Sequence[Sequence[float | None]]], matching: str
) -> dict[str, dict[str, Any]]:
    found = {objective: _tuned(world, objective, chosen[objective], matching) for objective in chosen}
    ours = found[LSC].all_good
    at_mean = matching == MEAN
    return {
        objective: _measured(result, ours - result.all_good if objective != LSC else ours, world.prompts)
        | ({"parameter": [row[BARS.index(MAIN_BAR)] for row in chosen[objective]]} if at_mean else {})
        for objective, result in found.items()
    }


def _tuned(world: World, objective: str, chosen: Sequence[Sequence[float | None]], matching: str) -> Curves:
    """The curves of an objective, each target and bar with its own parameter; what has no bar, with the main bar's."""
    solve = at_mean_kl if matching == MEAN else at_kl_per_prompt
    by_parameter = {}
    for parameter in sorted({parameter for row in chosen for parameter in row}, key=str):
        family = world.family(objective, parameter)
        by_parameter[parameter] = curves(family, solve(family, TARGET_KLS), len(world.prompts.spreads))
    at_main = [by_parameter[row[BARS.index(MAIN_BAR)]] for row in chosen]
    return Curves(
        np.stack([found.kl[target] for target, found in enumerate(at_main)]),
        np.stack(
            [
                np.stack([by_parameter[parameter].all_good[target, :, bar] for bar, parameter in enumerate(row)], -1)
                for target, row in enumerate(chosen)
            ]
        ),
        np.stack([found.gold_win[target] for target, found in enumerate(at_main)]),
        np.array([found.edge[target] for target, found in enumerate(at_main)]),
    )


def _measured(found: Curves, compared: Floats, prompts: Prompts) -> dict[str, Any]:
    """`compared` [targets, prompts, bars] is what the standard error is of: the difference to the LSC sum."""
    measures: dict[str, Any] = {
        "kl": _rounded(found.kl.mean(1)),
        "all_good": _by_bar(found.all_good.mean(1)),
        "gold_win": _rounded(found.gold_win.mean((1, 2))),
        "not_improved": _rounded(share_not_improved(found.gold_win)),
        "edge": _rounded(found.edge),
    }
    if prompts.num_replicates == 1:  # one prompt stands for all
        return measures
    low, high = np.quantile(found.kl, [0.1, 0.9], axis=1)
    return measures | {
        "kl_low": _rounded(low),
        "kl_high": _rounded(high),
        "worst_tenth": _by_bar(worst_tenth(found.all_good)),
        "error": _by_bar(standard_error(compared, prompts)),
    }


def _by_bar(values: Floats) -> list[list[float]]:
    """[targets, bars] as lists [bars][targets]."""
    return [_rounded(column) for column in values.T]


def _rounded(values: Floats, *, digits: int = _DIGITS) -> list[float]:
    return [round(float(value), digits) for value in values]
