"""The tilt against the optimum written down: pi_0 P(good)^(1/gamma), and the limits of the reference point."""

import math

import pytest
import torch

from allgood import transforms
from allgood.formula import Formula
from allgood.tilting import solve_gamma, tilt

COUNTS = torch.tensor([1, 2, 3, 5, 8, 13])  # pi_0 of six responses, as repeated samples
PI_0 = COUNTS.double() / COUNTS.sum()
REWARDS = torch.tensor([3.0, -1.0, 2.0, 0.5, 0.0, -2.0], dtype=torch.float64)


def tilted(utilities: torch.Tensor, gamma: float) -> torch.Tensor:
    """The tilt's distribution over the six responses."""
    weights = tilt(utilities.repeat_interleave(COUNTS)[None], gamma).weights[0]
    return torch.stack([part.sum() for part in weights.split(COUNTS.tolist())])


@pytest.mark.parametrize("gamma", [0.1, 0.5, 3.0])
def test_the_tilt_is_the_tabular_target(gamma):
    target = PI_0 * torch.sigmoid(REWARDS - 0.7) ** (1 / gamma)
    torch.testing.assert_close(tilted(transforms.log_sigmoid(REWARDS, 0.7), gamma), target / target.sum())


def test_the_tilt_of_a_sum_is_the_product_of_probabilities():
    other = REWARDS.flip(0)
    utilities = Formula("a & b^0.5").log_prob({"a": REWARDS, "b": other})
    target = PI_0 * (torch.sigmoid(REWARDS) * torch.sigmoid(other) ** 0.5) ** (1 / 0.3)
    torch.testing.assert_close(tilted(utilities, 0.3), target / target.sum())


def test_the_tilt_is_the_best_of_all_distributions():
    gamma, utilities = 0.3, transforms.log_sigmoid(REWARDS, 0.7)

    def objective(p: torch.Tensor) -> torch.Tensor:
        return (p * (utilities - gamma * (p / PI_0).log())).sum()

    best = tilted(utilities, gamma)
    log_z = torch.logsumexp(PI_0.log() + utilities / gamma, 0)
    torch.testing.assert_close(objective(best), gamma * log_z)
    generator = torch.Generator().manual_seed(0)
    for _ in range(200):
        other = torch.softmax(best.log() + 0.01 * torch.randn(6, dtype=torch.float64, generator=generator), 0)
        assert objective(other) < objective(best)


def test_kl_of_the_tilt_is_that_of_the_target():
    found = tilt(transforms.log_sigmoid(REWARDS, 0.7).repeat_interleave(COUNTS)[None], 0.3)
    target = tilted(transforms.log_sigmoid(REWARDS, 0.7), 0.3)
    torch.testing.assert_close(found.kl[0], (target * (target / PI_0).log()).sum())


def test_a_high_reference_is_the_raw_reward_and_a_low_one_is_pi_0():
    raw = tilted(transforms.identity(REWARDS, 0.0), 0.3)
    torch.testing.assert_close(tilted(transforms.log_sigmoid(REWARDS, 50.0), 0.3), raw, rtol=0, atol=1e-12)
    torch.testing.assert_close(tilted(transforms.log_sigmoid(REWARDS, -50.0), 0.3), PI_0, rtol=0, atol=1e-12)


def test_raw_rewards_are_blind_to_a_shift_per_prompt_and_log_sigmoids_are_not():
    def change(transform) -> float:
        return float((tilted(transform(REWARDS + 3, 0.7), 0.3) - tilted(transform(REWARDS, 0.7), 0.3)).abs().max())

    assert change(transforms.identity) < 1e-14
    assert change(transforms.log_sigmoid) > 0.1


def test_bradley_terry_learns_the_log_odds_of_good_up_to_a_constant():
    # Two independent judgements, the better preferred when they differ: P = p1 (1 - p0) / (p1 (1 - p0) + (1 - p1) p0)
    p1, p0 = torch.rand(2, 1000, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 0.98 + 0.01
    odds = torch.logit(p1) - torch.logit(p0)
    torch.testing.assert_close(p1 * (1 - p0) / (p1 * (1 - p0) + (1 - p1) * p0), torch.sigmoid(odds))


def test_best_of_n_is_the_tilt_of_the_log_calibrated_reward():
    # On a continuum: n F^(n-1), its KL log n - (n-1)/n and its win rate n/(n+1).
    num = 200_001
    draws = torch.linspace(0, 1, num, dtype=torch.float64)[None]
    for n in (2, 4, 16):
        found = tilt(transforms.log_calibrated(draws, draws), 1 / (n - 1))
        assert found.kl.item() == pytest.approx(math.log(n) - (n - 1) / n, abs=1e-3)
        assert found.expect(draws).item() == pytest.approx(n / (n + 1), abs=1e-4)


# ---- Gaussian prompts of different spread: who spends the KL ----

SPREADS = torch.tensor([0.5, 1.0, 2.0, 3.0], dtype=torch.float64)
Z_85 = 1.0364333894937898


def gaussian_rewards(num: int = 400_001) -> torch.Tensor:
    """Equally likely points of N(0, s^2) per prompt: samples of pi_0 without noise."""
    levels = (torch.arange(num, dtype=torch.float64) + 0.5) / num
    return SPREADS[:, None] * torch.special.ndtri(levels)


def test_raw_rewards_spend_kl_by_the_square_of_the_spread():
    rewards = gaussian_rewards()
    gamma = solve_gamma(rewards, 1.0)
    found = tilt(rewards, gamma)
    assert gamma == pytest.approx(math.sqrt(float((SPREADS**2).mean()) / 2), rel=0.01)
    torch.testing.assert_close(found.kl, SPREADS**2 / (2 * gamma**2), rtol=0.01, atol=1e-3)


def test_log_sigmoids_spend_kl_evenly():
    rewards = gaussian_rewards()
    utilities = transforms.log_sigmoid(rewards, Z_85 * SPREADS)
    found = tilt(utilities, solve_gamma(utilities, 4.0))
    assert found.kl.tolist() == pytest.approx([4.5, 4.6, 3.7, 3.2], abs=0.06)
    # Raw rewards at the same mean KL spend .28, 1.12, 4.49, 10.1 by the square of the spread.
    assert found.kl.max() / found.kl.min() < 1.5
