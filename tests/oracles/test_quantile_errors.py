"""Standard errors of the reference estimators against their spread over many redrawn samples."""

import pytest
import torch

from allgood import references

NUM_PROMPTS = 20_000


def draws(num_draws: int) -> torch.Tensor:
    return torch.randn(NUM_PROMPTS, num_draws, dtype=torch.float64, generator=torch.Generator().manual_seed(num_draws))


@pytest.mark.parametrize("quantile", [0.5, 0.75, 0.85, 0.95])
@pytest.mark.parametrize("num_draws", [10, 64])
def test_gaussian_quantile(quantile, num_draws):
    found = references.gaussian_quantile(draws(num_draws), quantile)
    assert found.standard_error.square().mean().sqrt().item() == pytest.approx(found.value.std().item(), rel=0.03)
    z = torch.special.ndtri(torch.tensor(quantile, dtype=torch.float64)).item()
    assert found.value.mean().item() == pytest.approx(z, abs=0.06)


@pytest.mark.parametrize("quantile", [0.5, 0.75, 0.85])
@pytest.mark.parametrize(("num_draws", "tolerance"), [(16, 0.2), (64, 0.1), (256, 0.05)])
def test_empirical_quantile(quantile, num_draws, tolerance):
    found = references.empirical_quantile(draws(num_draws), quantile)
    assert found.standard_error.square().mean().sqrt().item() == pytest.approx(found.value.std().item(), rel=tolerance)


@pytest.mark.parametrize(
    ("num_draws", "tolerance", "bias"), [(16, 0.15, -0.24), (64, 0.18, -0.077), (256, 0.12, -0.020)]
)
def test_empirical_quantile_in_the_tail(num_draws, tolerance, bias):
    # At 95 % few draws lie above: the error is overstated by 10, 14 and 8 %, and the value is too low.
    found = references.empirical_quantile(draws(num_draws), 0.95)
    assert found.standard_error.square().mean().sqrt().item() == pytest.approx(found.value.std().item(), rel=tolerance)
    assert found.value.mean().item() - 1.64485 == pytest.approx(bias, abs=0.01)


def test_mean():
    found = references.mean(draws(10))
    assert found.standard_error.square().mean().sqrt().item() == pytest.approx(found.value.std().item(), rel=0.02)


def test_the_gaussian_quantile_is_the_better_one_for_normal_rewards():
    # In standard deviations at 85 %: 10 draws .40 against .42 with bias -.15; 64 draws .155 against .186.
    for num_draws, gaussian_spread, empirical_spread in [(10, 0.40, 0.42), (64, 0.155, 0.186)]:
        gaussian = references.gaussian_quantile(draws(num_draws), 0.85).value
        empirical = references.empirical_quantile(draws(num_draws), 0.85).value
        assert gaussian.std().item() == pytest.approx(gaussian_spread, abs=0.01)
        assert empirical.std().item() == pytest.approx(empirical_spread, abs=0.01)
    assert references.empirical_quantile(draws(10), 0.85).value.mean().item() - 1.0364 == pytest.approx(-0.15, abs=0.02)
