"""The multipliers of a Lagrangian objective while a run goes on: dual descent as a function of the loop's state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch

from allgood.aggregation import update_multipliers
from pipelines.align_loop import State
from pipelines.config.objectives import LagrangianObjective, Objective


def advance_multipliers(objective: Objective, state: State, metrics: Mapping[str, float]) -> State:
    """The state with the multipliers of the next step, after the mean utilities of this one.

    A property of which nothing was scored keeps its multiplier. Other objectives have none.
    """
    if not isinstance(objective, LagrangianObjective):
        return state
    means = {name: metrics.get(f"utility.{name}.mean") for name in objective.thresholds}
    measured = {name: torch.tensor([mean], dtype=torch.float64) for name, mean in means.items() if mean is not None}
    moved = (
        update_multipliers(
            {name: state.multipliers[name] for name in measured},
            measured,
            {name: objective.thresholds[name] for name in measured},
            learning_rate=objective.learning_rate,
        )
        if measured
        else {}
    )
    return replace(state, multipliers={**state.multipliers, **moved})
