"""Combined utilities: exact values, missing scores, refusals."""

from __future__ import annotations

import numpy as np
import pytest

from actors.messages import Scores
from allgood.errors import ConfigError, RoleError, TrainingError
from pipelines.alignment.controllers import advance_multipliers
from pipelines.alignment.loop import State
from pipelines.config.objectives import (
    FormulaObjective,
    LagrangianObjective,
    LogitOfProductObjective,
    MinimumObjective,
    SoftMinimumObjective,
    WeightedSumObjective,
    ZScoredSumObjective,
)
from pipelines.config.properties import (
    ClassifierProperty,
    CustomTransform,
    FunctionProperty,
    IdentityTransform,
    LogProbTransform,
    LogSigmoidTransform,
    ZScoreTransform,
)
from pipelines.objective.combined import combined_utility, initial_multipliers, refuse_too_many_failures

SIGMOID = FunctionProperty(kind="function", function="m:f", transform=LogSigmoidTransform())
IDENTITY = FunctionProperty(kind="function", function="m:f", transform=IdentityTransform())
JUDGE = ClassifierProperty(kind="classifier", model="judge", transform=LogProbTransform())
LOG_PROB = FunctionProperty(kind="function", function="m:f", transform=LogProbTransform())
NAN = float("nan")


def log_sigmoid(margins: np.ndarray) -> np.ndarray:
    return -np.logaddexp(0.0, -margins.astype(np.float64))


def sigmoid_scores(margins: list[float]) -> Scores:
    values = np.float32(margins)
    return Scores("p", values, np.zeros_like(values), values, log_sigmoid(values).astype(np.float32), 0, 0.0)


def probability_scores(probabilities: list[float]) -> Scores:
    values = np.log(np.array(probabilities)).astype(np.float32)
    return Scores("p", values, np.zeros_like(values), values, values, 0, 0.0)


def ended(rows: int) -> tuple[str, ...]:
    return ("eos",) * rows


def test_the_default_formula_is_the_sum_of_log_sigmoids() -> None:
    utility = combined_utility(FormulaObjective(), {"a": SIGMOID, "b": SIGMOID})
    a, b = sigmoid_scores([0.0, 2.0, -30.0]), sigmoid_scores([1.0, -1.0, 5.0])
    expected = log_sigmoid(a.margins) + log_sigmoid(b.margins)
    np.testing.assert_allclose(utility({"a": a, "b": b}, ended(3)), expected, rtol=1e-6)


def test_a_classifier_enters_a_formula_with_its_own_probability() -> None:
    utility = combined_utility(FormulaObjective(expression="a | judge"), {"a": SIGMOID, "judge": JUDGE})
    scores = {"a": sigmoid_scores([0.0, 0.0]), "judge": probability_scores([0.3, 1.0])}
    # P(a or judge) = 1 - 0.5 * 0.7 = 0.65; with P(judge) = 1 it is certain
    np.testing.assert_allclose(utility(scores, ended(2)), [np.log(0.65), 0.0], rtol=1e-6, atol=1e-7)


def test_the_conjunction_with_a_classifier_adds_its_log_probability_exactly() -> None:
    utility = combined_utility(FormulaObjective(), {"a": SIGMOID, "judge": JUDGE})
    scores = {"a": sigmoid_scores([1.0, 1.0]), "judge": probability_scores([0.999999, 1e-6])}
    expected = log_sigmoid(np.float32([1.0, 1.0])) + scores["judge"].utilities
    np.testing.assert_allclose(utility(scores, ended(2)), expected, rtol=1e-6)


def test_a_certain_property_costs_its_negation_no_more_than_was_measured() -> None:
    # log P(not judge) = -odds, as far as the scorer's log P tells odds from certainty
    a, odds = sigmoid_scores([30.0] * 5), np.array([16.0, 17.0, 40.0, 80.0, 1000.0])
    log_p = -np.logaddexp(0.0, -odds).astype(np.float32)
    scores = {"a": a, "judge": Scores("p", log_p, np.zeros_like(log_p), log_p, log_p, 0, 0.0)}
    expected = {"classifier": [-16.0, -17.0, -40.0, -80.0, -87.34], "function": [-16.0] + [-16.64] * 4}
    for judge in (JUDGE, LOG_PROB):
        properties = {"a": SIGMOID, "judge": judge}
        negated = combined_utility(FormulaObjective(expression="a & ~judge"), properties)(scores, ended(5))
        np.testing.assert_allclose(negated, expected[judge.kind], rtol=1e-3)
        logits = combined_utility(LogitOfProductObjective(), properties)(scores, ended(5))
        assert logits.max() <= 30.0


def test_a_weighted_sum_adds_utilities_and_absent_weights_are_one() -> None:
    utility = combined_utility(WeightedSumObjective(weights={"a": 0.5}), {"a": IDENTITY, "b": IDENTITY})
    a = Scores("a", *(np.float32([2.0, 4.0]) for _ in range(4)), 0, 0.0)
    b = Scores("b", *(np.float32([-1.0, 3.0]) for _ in range(4)), 0, 0.0)
    assert utility({"a": a, "b": b}, ended(2)).tolist() == [0.0, 5.0]


def test_the_penalty_for_a_missing_end_comes_after_the_transform() -> None:
    utility = combined_utility(FormulaObjective(), {"a": SIGMOID}, missing_eos_penalty=0.75)
    plain = combined_utility(FormulaObjective(), {"a": SIGMOID})
    scores = {"a": sigmoid_scores([0.5, 0.5, 0.5])}
    difference = utility(scores, ("eos", "length", "stop")) - plain(scores, ended(3))
    np.testing.assert_allclose(difference, [0.0, -0.75, 0.0], atol=1e-6)


def test_a_missing_score_is_a_missing_utility_only_where_the_objective_needs_it() -> None:
    properties = {"a": SIGMOID, "b": SIGMOID}
    scores = {"a": sigmoid_scores([0.0, NAN, 0.0]), "b": sigmoid_scores([NAN, 0.0, 0.0])}
    both = combined_utility(FormulaObjective(), properties)(scores, ended(3))
    only_a = combined_utility(FormulaObjective(expression="a"), properties)(scores, ended(3))
    assert np.isnan(both).tolist() == [True, True, False]
    assert np.isnan(only_a).tolist() == [False, True, False]


def test_a_name_that_is_no_property_is_refused_at_set_up() -> None:
    with pytest.raises(ConfigError, match=r"objective\.expression.*'c'.*a, b"):
        combined_utility(FormulaObjective(expression="a & c"), {"a": SIGMOID, "b": SIGMOID})
    with pytest.raises(ConfigError, match=r"objective\.weights.*'c'"):
        combined_utility(WeightedSumObjective(weights={"c": 1.0}), {"a": SIGMOID})
    with pytest.raises(ConfigError, match=r"objective\.expression"):
        combined_utility(FormulaObjective(expression="a &"), {"a": SIGMOID})


def test_raw_rewards_are_no_probabilities_and_are_refused_in_a_formula() -> None:
    with pytest.raises(ConfigError, match=r"properties\.a\.transform is identity"):
        combined_utility(FormulaObjective(), {"a": IDENTITY})


def test_a_users_own_log_probability_enters_a_formula_when_declared_and_none_above_0() -> None:
    def own(is_log_prob: bool | None) -> FunctionProperty:
        transform = CustomTransform(kind="custom", function="m:f", is_log_prob=is_log_prob)
        return FunctionProperty(kind="function", function="m:f", transform=transform)

    for declared in (None, False):
        with pytest.raises(ConfigError, match="declares is_log_prob: true"):
            combined_utility(FormulaObjective(), {"a": SIGMOID, "own": own(declared)})
    utility = combined_utility(FormulaObjective(expression="a | own"), {"a": SIGMOID, "own": own(True)})
    scores = {"a": sigmoid_scores([0.0]), "own": probability_scores([0.3])}
    np.testing.assert_allclose(utility(scores, ended(1)), [np.log(0.65)], rtol=1e-6)
    with pytest.raises(RoleError, match=r"'m:f' is declared is_log_prob, but gives 0\.69"):
        utility({"a": sigmoid_scores([0.0]), "own": probability_scores([2.0])}, ended(1))


def test_more_failures_than_allowed_end_the_run_and_name_the_property() -> None:
    scores = {"a": sigmoid_scores([0.0] * 10), "b": sigmoid_scores([NAN] + [0.0] * 9)}
    refuse_too_many_failures(scores, max_nan_share=0.10, step=3)  # exactly 10 % is allowed
    scores["b"] = sigmoid_scores([NAN, NAN] + [0.0] * 8)
    with pytest.raises(TrainingError, match=r"step 3: 20% of the scores of property b are NaN"):
        refuse_too_many_failures(scores, max_nan_share=0.10, step=3)


# --- the other kinds

Z_SCORE = FunctionProperty(kind="function", function="m:f", transform=ZScoreTransform())


def raw_scores(values: list[float]) -> Scores:
    return Scores("p", *(np.float32(values) for _ in range(4)), 0, 0.0)


def test_minimum_and_soft_minimum_act_on_utilities_unless_on_margins() -> None:
    properties = {"a": SIGMOID, "b": SIGMOID}
    scores = {"a": sigmoid_scores([1.0, -2.0, NAN]), "b": sigmoid_scores([3.0, -1.0, 0.0])}
    smallest = combined_utility(MinimumObjective(), properties)(scores, ended(3))
    np.testing.assert_allclose(smallest[:2], log_sigmoid(np.array([1.0, -2.0])), rtol=1e-6)
    assert np.isnan(smallest[2])
    margins = combined_utility(MinimumObjective(on="margin"), properties)(scores, ended(3))
    np.testing.assert_allclose(margins[:2], [1.0, -2.0])
    soft = combined_utility(SoftMinimumObjective(on="margin", temperature=0.5), properties)(scores, ended(3))
    # -0.5 log(exp(-2) + exp(-6)), -0.5 log(exp(4) + exp(2))
    np.testing.assert_allclose(soft[:2], [0.990925, -2.063464], rtol=1e-5)


def test_the_logit_of_the_product_is_that_of_both_being_good() -> None:
    properties = {"a": SIGMOID, "judge": JUDGE}
    scores = {"a": sigmoid_scores([0.0]), "judge": probability_scores([0.5])}
    # P(both) = 1/4, its logit log(1/3)
    utility = combined_utility(LogitOfProductObjective(), properties)(scores, ended(1))
    np.testing.assert_allclose(utility, [np.log(1 / 3)], rtol=1e-5)
    with pytest.raises(ConfigError, match=r"properties\.a\.transform is identity.*logit_of_product needs"):
        combined_utility(LogitOfProductObjective(), {"a": IDENTITY})


def test_z_scores_are_added_and_only_z_scores() -> None:
    scores = {"a": raw_scores([0.5, -1.0]), "b": raw_scores([2.0, 1.0])}
    added = combined_utility(ZScoredSumObjective(), {"a": Z_SCORE, "b": Z_SCORE})(scores, ended(2))
    assert added.tolist() == [2.5, 0.0]
    with pytest.raises(ConfigError, match="needs z_score; set it for every property"):
        combined_utility(ZScoredSumObjective(), {"a": Z_SCORE, "b": SIGMOID})


def test_a_lagrangian_follows_its_multipliers() -> None:
    objective = LagrangianObjective(maximise="a", thresholds={"b": 0.5}, initial_multiplier=2.0)
    utility = combined_utility(objective, {"a": IDENTITY, "b": IDENTITY, "c": IDENTITY})
    scores = {"a": raw_scores([1.0, 2.0]), "b": raw_scores([0.5, -0.5]), "c": raw_scores([NAN, NAN])}
    assert utility(scores, ended(2)).tolist() == [1.0, 0.0]  # a + 2 (b - 0.5); c is not asked
    assert utility.at({"b": 0.0})(scores, ended(2)).tolist() == [1.0, 2.0]
    with pytest.raises(ConfigError, match=r"objective\.maximise names 'd'"):
        combined_utility(LagrangianObjective(maximise="d", thresholds={"b": 0.0}), {"a": IDENTITY, "b": IDENTITY})
    with pytest.raises(ConfigError, match="is the property to maximise; constrain others"):
        combined_utility(LagrangianObjective(maximise="b", thresholds={"b": 0.0}), {"a": IDENTITY, "b": IDENTITY})


def test_multipliers_rise_while_a_constraint_is_broken_and_never_fall_below_zero() -> None:
    objective = LagrangianObjective(maximise="a", thresholds={"b": 0.5, "c": 0.0}, learning_rate=0.2)
    state = State(0, 0, 0.1, {}, multipliers=initial_multipliers(objective))
    state = advance_multipliers(
        objective, state, {"utility.a.mean": 9.0, "utility.b.mean": -0.5, "utility.c.mean": 8.0}
    )
    assert state.multipliers == pytest.approx({"b": 1.2, "c": 0.0})
    assert advance_multipliers(objective, state, {"utility.a.mean": 1.0}).multipliers == state.multipliers
    assert advance_multipliers(FormulaObjective(), state, {}) is state
