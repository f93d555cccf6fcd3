"""Multipliers of a Lagrangian as a function of the loop's state."""

from __future__ import annotations

import pytest

from pipelines.alignment.controllers import advance_multipliers, initial_multipliers
from pipelines.alignment.loop import State
from pipelines.config.objectives import FormulaObjective, LagrangianObjective


def test_multipliers_rise_while_a_constraint_is_broken_and_never_fall_below_zero() -> None:
    objective = LagrangianObjective(maximise="a", thresholds={"b": 0.5, "c": 0.0}, learning_rate=0.2)
    state = State(0, 0, 0.1, {}, multipliers=initial_multipliers(objective))
    state = advance_multipliers(
        objective, state, {"utility.a.mean": 9.0, "utility.b.mean": -0.5, "utility.c.mean": 8.0}
    )
    assert state.multipliers == pytest.approx({"b": 1.2, "c": 0.0})
    assert advance_multipliers(objective, state, {"utility.a.mean": 1.0}).multipliers == state.multipliers
    assert advance_multipliers(FormulaObjective(), state, {}) is state
    assert initial_multipliers(FormulaObjective()) == {}
