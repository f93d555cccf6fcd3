"""Objectives: exact values from views, missing scores, refusals."""

from __future__ import annotations

import numpy as np
import pytest

from allgood import objectives
from allgood.formula import Formula
from allgood.objectives import FormulaUtility, Lagrangian, LogitOfProduct, Minimum, SoftMinimum, WeightedSum, ZScoredSum
from allgood.transform_facts import facts_of
from allgood.views import FloatArray, GoodFrom, PropertyView

NAN = float("nan")


def log_sigmoid(margins: list[float]) -> FloatArray:
    return (-np.logaddexp(0.0, -np.float64(margins))).astype(np.float32)


def sigmoid(margins: list[float]) -> PropertyView:
    z = np.float32(margins)
    return PropertyView(z, np.zeros_like(z), z, log_sigmoid(margins))


def raw(values: list[float]) -> PropertyView:
    return PropertyView(*(np.float32(values) for _ in range(4)))


def judge(log_probs: FloatArray, good_from: GoodFrom = "log_prob") -> PropertyView:
    values = log_probs.astype(np.float32)
    return PropertyView(values, np.zeros_like(values), values, values, good_from)


def test_the_formula_of_log_sigmoids_is_their_sum() -> None:
    views = {"a": sigmoid([0.0, 2.0, -30.0]), "b": sigmoid([1.0, -1.0, 5.0])}
    expected = views["a"].utilities + views["b"].utilities
    np.testing.assert_allclose(FormulaUtility(Formula("a & b")).combine(views), expected, rtol=1e-6)


def test_a_log_probability_enters_a_formula_with_its_own_probability() -> None:
    views = {"a": sigmoid([0.0, 0.0]), "judge": judge(np.log(np.array([0.3, 1.0])))}
    # P(a or judge) = 1 - 0.5 * 0.7 = 0.65; with P(judge) = 1 it is certain
    found = FormulaUtility(Formula("a | judge")).combine(views)
    np.testing.assert_allclose(found, [np.log(0.65), 0.0], rtol=1e-6, atol=1e-7)


def test_the_conjunction_with_a_log_probability_adds_it_exactly() -> None:
    views = {"a": sigmoid([1.0, 1.0]), "judge": judge(np.log(np.array([0.999999, 1e-6])))}
    expected = views["a"].utilities + views["judge"].utilities
    np.testing.assert_allclose(FormulaUtility(Formula("a & judge")).combine(views), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("good_from", "expected"),
    [("log_prob", [-16.0, -17.0, -40.0, -80.0, -87.34]), ("rounded_log_prob", [-16.0] + [-16.64] * 4)],
)
def test_a_certain_property_costs_its_negation_no_more_than_was_measured(
    good_from: GoodFrom, expected: list[float]
) -> None:
    # log P(not judge) = -odds, as far as the scorer's log P tells odds from certainty
    odds = np.array([16.0, 17.0, 40.0, 80.0, 1000.0])
    views = {"a": sigmoid([30.0] * 5), "judge": judge(-np.logaddexp(0.0, -odds), good_from)}
    np.testing.assert_allclose(FormulaUtility(Formula("a & ~judge")).combine(views), expected, rtol=1e-3)
    assert LogitOfProduct(("a", "judge")).combine(views).max() <= 30.0


def test_a_weighted_sum_adds_float32_in_the_order_of_its_weights_and_asks_no_weight_of_0() -> None:
    views = {"a": raw([2.0, 4.0]), "b": raw([-1.0, 3.0])}
    objective = WeightedSum({"a": 0.5, "b": 1.0, "c": 0.0})
    assert objective.names == ("a", "b")
    assert objective.combine(views).tolist() == [0.0, 5.0]
    generator = np.random.default_rng(0)
    many = {name: raw(generator.normal(size=50).tolist()) for name in "abcde"}
    weights = dict(zip("abcde", generator.uniform(size=5).tolist(), strict=True))
    expected = np.zeros(50, dtype=np.float32)
    for name, view in many.items():
        expected += np.float32(weights[name]) * view.utilities
    np.testing.assert_array_equal(WeightedSum(weights).combine(many), expected)
    with pytest.raises(ValueError, match=r"objective\.weights are all 0"):
        WeightedSum({"a": 0.0})


def test_minimum_and_soft_minimum_act_on_utilities_unless_on_margins() -> None:
    views = {"a": sigmoid([1.0, -2.0]), "b": sigmoid([3.0, -1.0])}
    np.testing.assert_allclose(Minimum(("a", "b")).combine(views), log_sigmoid([1.0, -2.0]), rtol=1e-6)
    np.testing.assert_allclose(Minimum(("a", "b"), on="margin").combine(views), [1.0, -2.0])
    soft = SoftMinimum(("a", "b"), on="margin", temperature=0.5).combine(views)
    # -0.5 log(exp(-2) + exp(-6)), -0.5 log(exp(4) + exp(2))
    np.testing.assert_allclose(soft, [0.990925, -2.063464], rtol=1e-5)


def test_the_logit_of_the_product_is_that_of_both_being_good() -> None:
    views = {"a": sigmoid([0.0]), "judge": judge(np.log(np.array([0.5])))}
    # P(both) = 1/4, its logit log(1/3)
    np.testing.assert_allclose(LogitOfProduct(("a", "judge")).combine(views), [np.log(1 / 3)], rtol=1e-5)


@pytest.mark.parametrize("kind", [ZScoredSum, objectives.NormaliseThenSum])
def test_z_scores_and_raw_rewards_are_added(kind: type[ZScoredSum]) -> None:
    views = {"a": raw([0.5, -1.0]), "b": raw([2.0, 1.0])}
    assert kind(("a", "b")).combine(views).tolist() == [2.5, 0.0]


def test_a_lagrangian_follows_its_multipliers() -> None:
    objective = Lagrangian("a", {"b": 0.5}, {"b": 2.0})
    views = {"a": raw([1.0, 2.0]), "b": raw([0.5, -0.5]), "c": raw([NAN, NAN])}
    assert objective.names == ("a", "b")  # c is not asked
    assert objective.combine(views).tolist() == [1.0, 0.0]  # a + 2 (b - 0.5)
    assert objective.at({"b": 0.0}).combine(views).tolist() == [1.0, 2.0]
    with pytest.raises(ValueError, match="is the property to maximise; constrain others"):
        Lagrangian("b", {"b": 0.0}, {"b": 1.0})


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        (FormulaUtility(Formula("a & c")), r"objective\.expression names 'c'.*properties are: a, raw"),
        (WeightedSum({"a": 1.0, "c": 0.0}), r"objective\.weights names 'c'"),
        (Minimum(("a", "c")), r"objective\.names names 'c'"),
        (Lagrangian("a", {"c": 0.0}, {"c": 1.0}), r"objective\.thresholds names 'c'"),
        (FormulaUtility(Formula("raw | a")), r"properties\.raw\.transform is identity, .*formula needs log P\(good\)"),
        (LogitOfProduct(("raw",)), r"logit_of_product needs log P\(good\)"),
        (ZScoredSum(("raw",)), r"z_scored_sum needs z_score; set it for every property"),
        (objectives.NormaliseThenSum(("a", "raw")), r"properties\.a\.transform is log_sigmoid.* needs identity"),
    ],
)
def test_what_an_objective_cannot_work_with_is_refused(objective: objectives.Objective, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        objectives.refuse_unfit(objective, {"a": facts_of("log_sigmoid"), "raw": facts_of("identity")})
