"""Values and gradients are finite for margins from -1e4 to 1e4, in float32 and for half-precision input."""

import pytest
import torch

from allgood import aggregation, transforms
from allgood.formula import Formula
from allgood.tilting import tilt

EXTREMES = torch.tensor([-1e4, -1000.0, -104.0, -88.0, -18.0, -1.0, 0.0, 1.0, 18.0, 88.0, 104.0, 1000.0, 1e4])
DTYPES = [torch.float32, torch.bfloat16, torch.float16, torch.float64]
TRANSFORMS = [
    transforms.identity,
    transforms.log_sigmoid,
    transforms.sigmoid,
    transforms.tanh,
    transforms.clip,
    transforms.power,
    lambda r, ref: transforms.power(r, ref, risk_aversion=0.999),
    lambda r, ref: transforms.z_score(r, 0.0, 0.01),
    lambda r, ref: transforms.log_mean_sigmoid(r, ref[:, None] + torch.tensor([0.0, 1e4, -1e4])),
    lambda r, ref: transforms.mean_sigmoid(r, ref[:, None] + torch.tensor([0.0, 1e4, -1e4])),
    lambda r, ref: transforms.log_calibrated(r, ref[:, None]),
    lambda r, ref: transforms.exp_calibrated(r, ref[:, None], t=80),
]
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


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("index", range(len(TRANSFORMS)))
def test_transforms(dtype, index):
    reward = EXTREMES.clone().to(dtype).requires_grad_()
    found = TRANSFORMS[index](reward, torch.zeros(len(reward), dtype=dtype))
    assert found.dtype in (torch.float32, torch.float64)
    assert torch.isfinite(found).all()
    if found.requires_grad:
        found.sum().backward()
        assert torch.isfinite(reward.grad).all()


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


def test_aggregators():
    grids = torch.meshgrid(EXTREMES, EXTREMES, indexing="ij")
    values = {n: g.reshape(1, -1).clone().requires_grad_() for n, g in zip("ab", grids, strict=True)}
    for aggregate in (
        aggregation.raw_sum,
        aggregation.minimum,
        aggregation.soft_minimum,
        aggregation.logit_of_product,
        aggregation.normalise_then_sum,
    ):
        found = aggregate(values)
        assert torch.isfinite(found).all()
        for slope in torch.autograd.grad(found.sum(), list(values.values())):
            assert torch.isfinite(slope).all()


@pytest.mark.parametrize("gamma", [1e-8, 1e-2, 1.0, 1e6])
def test_tilts(gamma):
    utilities = EXTREMES[None].clone().requires_grad_()
    strength = torch.tensor(gamma, requires_grad=True)
    found = tilt(utilities, strength)
    (found.kl.sum() + found.expect(EXTREMES[None]).sum() + found.effective_sample_size.sum()).backward()
    for part in (found.weights, found.kl, found.effective_sample_size, utilities.grad, strength.grad):
        assert torch.isfinite(part).all()
