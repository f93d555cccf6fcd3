import math

import pytest
import torch

from allgood import aggregation

A, B = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, -1.0]])
BOTH = {"a": A, "b": B}


def test_aggregators_by_hand():
    assert aggregation.raw_sum(BOTH).tolist() == [[4.0, 1.0]]
    assert aggregation.weighted_sum(BOTH, {"b": 2, "a": 0.5}).tolist() == [[6.5, -1.0]]
    assert aggregation.minimum(BOTH).tolist() == [[1.0, -1.0]]
    expected = -2 * math.log(math.exp(-0.5) + math.exp(-1.5))
    assert aggregation.soft_minimum(BOTH, temperature=2)[0, 0].item() == pytest.approx(expected)
    p = 1 / (1 + math.exp(-1)) / (1 + math.exp(-3))
    assert aggregation.logit_of_product(BOTH)[0, 0].item() == pytest.approx(math.log(p / (1 - p)))
    assert aggregation.lagrangian(BOTH, "a", {"b": 0.5}, {"b": 1}).tolist() == [[2.0, 1.0]]


def test_soft_minimum_lies_below_the_minimum_and_reaches_it():
    assert (aggregation.soft_minimum(BOTH) < aggregation.minimum(BOTH)).all()
    torch.testing.assert_close(aggregation.soft_minimum(BOTH, temperature=1e-4), aggregation.minimum(BOTH))


def test_logit_of_product_of_one_property_is_its_margin_and_stays_finite():
    z = torch.linspace(-1e4, 1e4, 9, requires_grad=True)
    torch.testing.assert_close(aggregation.logit_of_product({"a": z}), z)
    found = aggregation.logit_of_product({"a": z, "b": z.flip(0), "c": z})
    found.sum().backward()
    assert found.isfinite().all()
    assert z.grad.isfinite().all()


def test_multipliers_rise_where_the_constraint_is_missed_and_never_fall_below_0():
    found = aggregation.update_multipliers(
        {"a": 0.1, "b": 0.1}, {**BOTH, "c": A}, {"a": 10, "b": -10}, learning_rate=0.5
    )
    # a: 0.1 - 0.5 (1.5 - 10); b: 0.1 - 0.5 (1 + 10) < 0
    assert found == {"a": pytest.approx(4.35), "b": 0.0}


def test_normalise_then_sum_by_hand():
    found = aggregation.normalise_then_sum({"a": torch.tensor([[1.0, 3.0]]), "b": torch.tensor([[0.0, 100.0]])})
    assert found[0].tolist() == pytest.approx([-math.sqrt(2), math.sqrt(2)], rel=1e-3)


def test_gradients_are_right():
    a, b = A.double().requires_grad_(), B.double().requires_grad_()
    for aggregate in (
        aggregation.raw_sum,
        aggregation.minimum,
        aggregation.soft_minimum,
        aggregation.logit_of_product,
        aggregation.normalise_then_sum,
        lambda v: aggregation.weighted_sum(v, {"a": 2, "b": 3}),
        lambda v: aggregation.lagrangian(v, "a", {"b": 0.5}, {"b": 1}),
    ):
        assert torch.autograd.gradcheck(lambda x, y, f=aggregate: f({"a": x, "b": y}), (a, b))


def test_one_float64_property_makes_the_result_float64_and_half_becomes_float32():
    assert aggregation.raw_sum({"a": A.double(), "b": B}).dtype == torch.float64
    assert aggregation.raw_sum({"a": A.half(), "b": B.bfloat16()}).dtype == torch.float32


def test_bad_input_is_refused():
    one = {"a": 1.0}
    for call, message in [
        (lambda: aggregation.raw_sum({}), "rewards must hold at least one property, got none"),
        (
            lambda: aggregation.raw_sum({"a": A, "b": B[0]}),
            r"rewards\['b'\] and rewards\['a'\] must have the same shape",
        ),
        (lambda: aggregation.minimum({"a": A * math.nan}), r"utilities\['a'\] must be finite"),
        (lambda: aggregation.weighted_sum(BOTH, one), "weights must be given for exactly a, b, got a"),
        (lambda: aggregation.weighted_sum({"a": A}, {"a": math.inf}), r"weights\['a'\] must be finite"),
        (lambda: aggregation.soft_minimum(BOTH, temperature=0), "temperature must be"),
        (lambda: aggregation.lagrangian(BOTH, "c", one, one), "objective must be one of a, b, got 'c'"),
        (
            lambda: aggregation.lagrangian({"a": A}, "a", one, {}),
            "multipliers must be given for exactly no property, got a",
        ),
        (
            lambda: aggregation.lagrangian(BOTH, "b", {"a": -1}, one),
            r"multipliers\['a'\] must be finite and at least 0",
        ),
        (lambda: aggregation.update_multipliers(one, {"b": B}, one), "rewards lack a"),
        (lambda: aggregation.update_multipliers(one, {"a": A}, one, learning_rate=0), "learning_rate"),
        (lambda: aggregation.normalise_then_sum({"a": A[:, :1]}), "at least 2 samples per prompt, got 1"),
        (lambda: aggregation.normalise_then_sum({"a": A[0]}), "must be a non-empty tensor"),
        (lambda: aggregation.normalise_then_sum(BOTH, epsilon=0), "epsilon"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()
