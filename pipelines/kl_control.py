"""gamma while a run goes on: the controllers of `allgood.kl` as a function of the loop's state."""

from __future__ import annotations

from dataclasses import replace

from allgood.kl import AdaptiveController, FixedController, KlController, TargetKlController
from pipelines.align_loop import State
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
