"""The objective of a run file as a value, and what it refuses at set-up."""

from __future__ import annotations

import pytest

from allgood import objectives
from allgood.errors import ConfigError
from pipelines.config.objective_values import objective_of
from pipelines.config.objectives import (
    FormulaObjective,
    LagrangianObjective,
    LogitOfProductObjective,
    MinimumObjective,
    NormaliseThenSumObjective,
    Objective,
    SoftMinimumObjective,
    WeightedSumObjective,
    ZScoredSumObjective,
)
from pipelines.config.properties import (
    ClassifierProperty,
    CustomTransform,
    FunctionProperty,
    IdentityTransform,
    LogSigmoidTransform,
    Property,
    Transform,
    ZScoreTransform,
)


def function(transform: Transform) -> FunctionProperty:
    return FunctionProperty(kind="function", function="m:f", transform=transform)


SIGMOID = function(LogSigmoidTransform())
IDENTITY = function(IdentityTransform())
Z_SCORE = function(ZScoreTransform())
JUDGE = ClassifierProperty(kind="classifier", model="judge")


@pytest.mark.parametrize(
    ("objective", "setting", "expected"),
    [
        (MinimumObjective(on="margin"), SIGMOID, objectives.Minimum(("a", "b"), "margin")),
        (SoftMinimumObjective(temperature=2.0), SIGMOID, objectives.SoftMinimum(("a", "b"), "utility", 2.0)),
        (LogitOfProductObjective(), SIGMOID, objectives.LogitOfProduct(("a", "b"))),
        (ZScoredSumObjective(), Z_SCORE, objectives.ZScoredSum(("a", "b"))),
        (NormaliseThenSumObjective(), IDENTITY, objectives.NormaliseThenSum(("a", "b"))),
        (WeightedSumObjective(weights={"b": 0.5}), IDENTITY, objectives.WeightedSum({"a": 1.0, "b": 0.5})),
        (
            LagrangianObjective(maximise="a", thresholds={"b": 0.5}, initial_multiplier=2.0),
            IDENTITY,
            objectives.Lagrangian("a", {"b": 0.5}, {"b": 2.0}),
        ),
    ],
    ids=lambda value: getattr(value, "kind", ""),
)
def test_each_kind_is_a_value(objective: Objective, setting: Property, expected: objectives.Objective) -> None:
    assert objective_of(objective, {"a": setting, "b": setting}) == expected


def test_the_formula_is_that_of_the_run_file_or_the_conjunction_of_all() -> None:
    properties = {"a": SIGMOID, "judge": JUDGE}
    for expression, expected in ((None, "a & judge"), ("a | judge", "a | judge")):
        found = objective_of(FormulaObjective(expression=expression), properties)
        assert isinstance(found, objectives.FormulaUtility)
        assert found.formula.expression == expected


def test_a_name_that_is_no_property_is_refused_at_set_up() -> None:
    with pytest.raises(ConfigError, match=r"objective\.expression.*'c'.*a, b"):
        objective_of(FormulaObjective(expression="a & c"), {"a": SIGMOID, "b": SIGMOID})
    with pytest.raises(ConfigError, match=r"objective\.weights.*'c'"):
        objective_of(WeightedSumObjective(weights={"c": 1.0}), {"a": SIGMOID})
    with pytest.raises(ConfigError, match=r"objective\.expression: "):
        objective_of(FormulaObjective(expression="a &"), {"a": SIGMOID})
    with pytest.raises(ConfigError, match=r"objective\.maximise names 'd'"):
        objective_of(LagrangianObjective(maximise="d", thresholds={"b": 0.0}), {"a": IDENTITY, "b": IDENTITY})


def test_what_would_reward_nothing_or_one_property_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"objective\.weights are all 0"):
        objective_of(WeightedSumObjective(weights={"a": 0.0}), {"a": SIGMOID})
    with pytest.raises(ConfigError, match="is the property to maximise; constrain others"):
        objective_of(LagrangianObjective(maximise="b", thresholds={"b": 0.0}), {"a": IDENTITY, "b": IDENTITY})


def test_raw_rewards_are_no_probabilities_and_are_refused_in_a_formula() -> None:
    with pytest.raises(ConfigError, match=r"properties\.a\.transform is identity"):
        objective_of(FormulaObjective(), {"a": IDENTITY})
    with pytest.raises(ConfigError, match=r"properties\.a\.transform is identity.*logit_of_product needs"):
        objective_of(LogitOfProductObjective(), {"a": IDENTITY})
    with pytest.raises(ConfigError, match="needs z_score; set it for every property"):
        objective_of(ZScoredSumObjective(), {"a": Z_SCORE, "b": SIGMOID})


def test_a_users_own_log_probability_enters_a_formula_when_declared() -> None:
    def own(is_log_prob: bool | None) -> FunctionProperty:
        return function(CustomTransform(kind="custom", function="m:f", is_log_prob=is_log_prob))

    for declared in (None, False):
        with pytest.raises(ConfigError, match="declares is_log_prob: true"):
            objective_of(FormulaObjective(), {"a": SIGMOID, "own": own(declared)})
    assert objective_of(FormulaObjective(), {"a": SIGMOID, "own": own(True)}).names == ("a", "own")
