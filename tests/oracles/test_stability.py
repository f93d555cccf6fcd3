"""Values and gradients are finite for margins from -1e4 to 1e4, in float32 and for half-precision input."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from allgood import aggregation, ensembles, transform_facts, transforms
from allgood.formula import Formula
from allgood.tilting import tilt

EXTREMES = torch.tensor([-1e4, -1000.0, -104.0, -88.0, -18.0, -1.0, 0.0, 1.0, 18.0, 88.0, 104.0, 1000.0, 1e4])
SPREAD = torch.tensor([0.0, 1e4, -1e4])  # of draws around the reference
DTYPES = [torch.float32, torch.bfloat16, torch.float16, torch.float64]
Transform = Callable[[Tensor, Tensor], Tensor]
TRANSFORMS: dict[str, Transform] = {
    "identity": transforms.identity,
    "log_sigmoid": transforms.log_sigmoid,
    "log_prob": lambda r, ref: transforms.log_prob(-r.abs()),
    "sigmoid": transforms.sigmoid,
    "tanh": transforms.tanh,
    "clip": transforms.clip,
    "capped": transforms.capped,
    "prompt_z_score": lambda r, ref: transforms.prompt_z_score(r, ref[:, None] + SPREAD),
    "power": transforms.power,
    "power, nearly log_sigmoid": lambda r, ref: transforms.power(r, ref, risk_aversion=0.999),
    "z_score": lambda r, ref: transforms.z_score(r, 0.0, 0.01),
    "log_mean_sigmoid": lambda r, ref: transforms.log_mean_sigmoid(r, ref[:, None] + SPREAD),
    "mean_sigmoid": lambda r, ref: transforms.mean_sigmoid(r, ref[:, None] + SPREAD),
    "calibrated": lambda r, ref: transforms.calibrated(r, ref[:, None] + SPREAD),
    "log_calibrated": lambda r, ref: transforms.log_calibrated(r, ref[:, None] + SPREAD),
    "exp_calibrated": lambda r, ref: transforms.exp_calibrated(r, ref[:, None] + SPREAD, t=80),
}
FORMULAS = [
    "a",
    "~a",
    "a & b",
    "a & ~b",
    "a | b",
    "~(a & b)",
    "(a & b) | (~a & c)",
    "a^0.5 & b",
    "(a | b)^2 & c",
    "(a | b) & (b | c) & (c | a)",
    "(a & ~b & ~c) | (~a & b & ~c) | (~a & ~b & c)",
]


def test_no_transform_and_no_aggregator_is_left_out():
    assert {facts.name for facts in transform_facts.FACTS} <= set(TRANSFORMS)
    others = {"update_multipliers"}  # returns numbers
    ensembles = {name for name in aggregation.__all__ if name.startswith("ensemble_")}
    assert set(aggregation.__all__) - others - ensembles == set(AGGREGATORS)
    assert ensembles == set(ENSEMBLES)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", TRANSFORMS)
def test_transforms(dtype, name):
    reward = EXTREMES.clone().to(dtype).requires_grad_()
    found = TRANSFORMS[name](reward, torch.zeros(len(reward), dtype=dtype))
    assert found.dtype in (torch.float32, torch.float64)
    assert torch.isfinite(found).all()
    if found.requires_grad:
        found.sum().backward()
        assert torch.isfinite(reward.grad).all()


@settings(max_examples=30)
@given(st.lists(st.floats(-1e4, 1e4, width=32), min_size=1, max_size=8), st.floats(-1e4, 1e4, width=32))
@pytest.mark.parametrize("name", TRANSFORMS)
def test_transforms_of_any_margin(name, rewards, reference):
    reward = torch.tensor(rewards, requires_grad=True)
    found = TRANSFORMS[name](reward, torch.full((len(rewards),), reference))
    assert torch.isfinite(found).all()
    if found.requires_grad:
        (slope,) = torch.autograd.grad(found.sum(), reward)
        assert torch.isfinite(slope).all()


def test_the_naive_form_would_not_be_stable():
    # The damage: log(sigmoid(z)) is -inf at -104 with a NaN gradient at -110.
    z = torch.tensor([-110.0], requires_grad=True)
    torch.log(torch.sigmoid(z)).backward()
    assert z.grad.isnan().all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("expression", FORMULAS)
def test_formulas(dtype, expression):
    grids = torch.meshgrid(EXTREMES, EXTREMES, EXTREMES, indexing="ij")
    margins = {n: g.reshape(-1).clone().to(dtype).requires_grad_() for n, g in zip("abc", grids, strict=True)}
    found = Formula(expression).log_prob(margins)
    assert torch.isfinite(found).all()
    assert (found <= 0).all()
    names = Formula(expression).names
    for slope in torch.autograd.grad(found.sum(), [margins[name] for name in names]):
        assert torch.isfinite(slope).all()


@pytest.mark.parametrize("expression", FORMULAS)
def test_float32_agrees_with_float64_to_rounding(expression):
    grids = torch.meshgrid(EXTREMES, EXTREMES, EXTREMES, indexing="ij")
    margins = {n: g.reshape(-1) for n, g in zip("abc", grids, strict=True)}
    exact = Formula(expression).log_prob({n: z.double() for n, z in margins.items()})
    torch.testing.assert_close(Formula(expression).log_prob(margins).double(), exact, rtol=5e-6, atol=1e-37)


HALVES = {"a": 0.5, "b": 0.5}
AGGREGATORS: dict[str, Callable[[dict[str, Tensor]], Tensor]] = {
    "raw_sum": aggregation.raw_sum,
    "weighted_sum": lambda values: aggregation.weighted_sum(values, HALVES),
    "minimum": aggregation.minimum,
    "soft_minimum": aggregation.soft_minimum,
    "logit_of_product": aggregation.logit_of_product,
    "normalise_then_sum": aggregation.normalise_then_sum,
    "lagrangian": lambda values: aggregation.lagrangian(values, "a", {"b": 2.0}, {"b": 0.0}),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", AGGREGATORS)
def test_aggregators(dtype, name):
    grids = torch.meshgrid(EXTREMES, EXTREMES, indexing="ij")
    values = {n: g.reshape(1, -1).clone().to(dtype).requires_grad_() for n, g in zip("ab", grids, strict=True)}
    found = AGGREGATORS[name](values)
    assert found.dtype in (torch.float32, torch.float64)
    assert torch.isfinite(found).all()
    for slope in torch.autograd.grad(found.sum(), list(values.values())):
        assert torch.isfinite(slope).all()


ENSEMBLES = {
    "ensemble_mean": ensembles.ensemble_mean,
    "ensemble_median": ensembles.ensemble_median,
    "ensemble_min": ensembles.ensemble_min,
    "ensemble_lower_bound": ensembles.ensemble_lower_bound,
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ENSEMBLES)
def test_ensembles(dtype, name):
    members = torch.stack([EXTREMES, EXTREMES, EXTREMES.flip(0)]).to(dtype).requires_grad_()
    found = ENSEMBLES[name](members)
    assert torch.isfinite(found).all()
    (slope,) = torch.autograd.grad(found.sum(), members)
    assert torch.isfinite(slope).all()


@pytest.mark.parametrize("gamma", [1e-8, 1e-2, 1.0, 1e6])
def test_tilts(gamma):
    utilities = EXTREMES[None].clone().requires_grad_()
    strength = torch.tensor(gamma, requires_grad=True)
    found = tilt(utilities, strength)
    (found.kl.sum() + found.expect(EXTREMES[None]).sum() + found.effective_sample_size.sum()).backward()
    for part in (found.weights, found.kl, found.effective_sample_size, utilities.grad, strength.grad):
        assert torch.isfinite(part).all()
