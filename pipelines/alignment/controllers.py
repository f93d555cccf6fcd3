"""gamma while a run goes on: the controllers of `allgood.kl` as a function of the loop's state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch

from allgood.aggregation import update_multipliers
from allgood.kl import AdaptiveController, FixedController, KlController, TargetKlController
from pipelines.alignment.loop import State
from pipelines.config.objectives import LagrangianObjective, Objective
from pipelines.config.rl import AdaptiveController as AdaptiveConfig
from pipelines.config.rl import KlConfig, TargetController


def controller_of(config: KlConfig) -> KlController:
    """The controller that the config names, as it is before the first update."""
    if isinstance(config.controller, AdaptiveConfig):
        return AdaptiveController(config.coefficient, config.controller.target, config.controller.horizon)
    if isinstance(config.controller, TargetController):
        target = config.controller
        return TargetKlController(config.coefficient, target.target, target.rate, target.smoothing)
    return FixedController(config.coefficient)


def advance(config: KlConfig, state: State, kl: float, num_responses: int) -> State:
    """The state with gamma for the next step, after a sequence KL of `kl` nats was measured in this one."""
    controller = controller_of(config)
    controller.load_state_dict(state.kl_controller)
    controller.update(kl, num_responses=num_responses)
    return replace(state, kl_coefficient=controller.coefficient, kl_controller=controller.state_dict())


def initial_multipliers(objective: Objective) -> dict[str, float]:
    """lambda of each constrained property before the first step; empty where none are learned."""
    if not isinstance(objective, LagrangianObjective):
        return {}
    return dict.fromkeys(objective.thresholds, objective.initial_multiplier)


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
