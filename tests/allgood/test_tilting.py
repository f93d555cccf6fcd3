import math

import pytest
import torch

from allgood.tilting import solve_gamma, tilt


def gaussian(num_prompts: int, num_samples: int) -> torch.Tensor:
    return torch.randn(num_prompts, num_samples, generator=torch.Generator().manual_seed(0))


def test_tilt_by_hand():
    found = tilt(torch.tensor([[0.0, math.log(3.0)]]), 1)
    assert found.weights[0].tolist() == pytest.approx([0.25, 0.75])
    assert found.kl.item() == pytest.approx(0.25 * math.log(0.5) + 0.75 * math.log(1.5))
    assert found.effective_sample_size.item() == pytest.approx(1 / (0.0625 + 0.5625))
    assert found.expect(torch.tensor([[4.0, 8.0]])).tolist() == pytest.approx([7.0])


def test_equal_utilities_change_nothing_and_cost_no_kl():
    found = tilt(torch.full((2, 5), -3.0), 0.01)
    torch.testing.assert_close(found.weights, torch.full((2, 5), 0.2))
    assert found.kl.tolist() == [0.0, 0.0]
    torch.testing.assert_close(found.effective_sample_size, torch.full((2,), 5.0))


def test_shifts_per_prompt_do_not_matter():
    utilities = gaussian(3, 8)
    shifted = tilt(utilities + torch.tensor([[1e3], [-50.0], [0.0]]), 0.5)
    torch.testing.assert_close(shifted.weights, tilt(utilities, 0.5).weights, rtol=1e-3, atol=1e-4)


def test_small_gamma_is_the_best_sample_and_large_gamma_is_pi_0():
    utilities = gaussian(3, 8)
    best = tilt(utilities, 1e-30)
    assert torch.equal(best.weights.argmax(-1), utilities.argmax(-1))
    torch.testing.assert_close(best.kl, torch.full((3,), math.log(8)))
    torch.testing.assert_close(tilt(utilities, 1e6).weights, torch.full((3, 8), 1 / 8), rtol=1e-5, atol=0)


def test_everything_is_differentiable_in_gamma_and_utilities():
    utilities = gaussian(2, 3).double().requires_grad_()
    gamma = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)

    values = gaussian(3, 3)[1:].double()

    def parts(u, g):
        found = tilt(u, g)
        return found.weights, found.kl, found.effective_sample_size, found.expect(values)

    assert torch.autograd.gradcheck(parts, (utilities, gamma))


def test_the_slope_of_the_expected_utility_in_gamma_is_minus_its_variance_over_gamma_squared():
    utilities, gamma = gaussian(4, 16).double(), torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    found = tilt(utilities, gamma)
    (slope,) = torch.autograd.grad(found.expect(utilities).sum(), gamma)
    variance = found.expect(utilities**2) - found.expect(utilities) ** 2
    torch.testing.assert_close(slope, -(variance / gamma**2).sum().detach())


def test_kl_of_gaussian_utilities_reads_as_stated():
    # True KL 1 / (2 gamma^2) = 1, 2, 4 nats; 64 samples read 0.89, 1.52, 2.23
    for true_kl, expected in [(1.0, 0.89), (2.0, 1.52), (4.0, 2.23)]:
        assert tilt(gaussian(4000, 64), (2 * true_kl) ** -0.5).kl.mean().item() == pytest.approx(expected, abs=0.02)
    assert tilt(gaussian(400, 1024), 8**-0.5).kl.mean().item() == pytest.approx(3.3, abs=0.1)


def test_the_reliability_flag_fires_where_samples_lack():
    assert tilt(gaussian(2000, 64), 1.0).reliable  # true KL 0.5
    assert not tilt(gaussian(2000, 64), 0.5**0.5).reliable  # 1
    assert tilt(gaussian(300, 1024), 0.5).reliable  # 2
    assert not tilt(gaussian(300, 1024), 8**-0.5).reliable  # 4
    assert not tilt(gaussian(300, 3), 1.0).reliable  # too few to tell


@pytest.mark.parametrize("gamma", [1e2, 1e4, 1e6, 1e9])
def test_a_frozen_policy_is_no_false_alarm(gamma):
    found = tilt(gaussian(300, 64) + 20.0, gamma)  # in float32
    assert found.reliable
    assert found.kl.mean().item() == pytest.approx(0.5 / gamma**2, rel=0.05, abs=1e-15)
    assert found.kl.dtype == found.weights.dtype == torch.float32


def test_sorted_samples_are_judged_like_shuffled_ones():
    utilities = gaussian(2000, 64)
    assert tilt(utilities.sort(-1).values, 1.0).reliable


@pytest.mark.parametrize("target_kl", [0.01, 0.5, 2.0, 4.0])
def test_solve_gamma_meets_the_target(target_kl):
    utilities = torch.nn.functional.logsigmoid(3 * gaussian(20, 64).double())
    gamma = solve_gamma(utilities, target_kl)
    assert tilt(utilities, gamma).kl.mean().item() == pytest.approx(target_kl, rel=1e-9)


def test_solve_gamma_takes_prompts_with_different_numbers_of_samples():
    few, many = gaussian(3, 8), gaussian(2, 64)
    gamma = solve_gamma([few, many], 0.7)
    kl = torch.cat([tilt(few, gamma).kl, tilt(many, gamma).kl])
    assert kl.shape == (5,)
    assert kl.mean().item() == pytest.approx(0.7, rel=1e-5)
    assert solve_gamma([few], 0.7) == solve_gamma(few, 0.7)
    with pytest.raises(ValueError, match="all that 64 samples per prompt can show"):
        solve_gamma([few, many], 3.5)  # (3 log 8 + 2 log 64) / 5 = 2.9 nats


def test_solve_gamma_follows_the_scale_of_the_utilities():
    utilities = gaussian(20, 64).double()
    for scale in (1e-6, 1e6):
        assert solve_gamma(scale * utilities, 1) == pytest.approx(scale * solve_gamma(utilities, 1), rel=1e-9)


def test_targets_beyond_the_samples_are_refused():
    with pytest.raises(ValueError, match=r"target_kl must be below 2\.0794 nats, all that 8 samples .* got 2\.5"):
        solve_gamma(gaussian(3, 8), 2.5)
    # Two best samples out of four: no more than log 2.
    ties = torch.tensor([[1.0, 1.0, 0.0, 0.0]])
    assert tilt(ties, solve_gamma(ties, 0.69)).kl.item() == pytest.approx(0.69, rel=1e-5)
    with pytest.raises(ValueError, match=r"below 0\.6931 nats"):
        solve_gamma(ties, 0.7)
    with pytest.raises(ValueError, match=r"below 0\.0000 nats"):
        solve_gamma(torch.zeros(2, 5), 0.1)


def test_bad_input_is_refused():
    for call, message in [
        (lambda: tilt(torch.zeros(3), 1.0), "utilities must be a non-empty tensor"),
        (lambda: tilt(torch.zeros(3, 0), 1.0), "utilities must be a non-empty tensor"),
        (lambda: tilt(torch.tensor([[0.0, math.nan]]), 1.0), "utilities must be finite"),
        (lambda: tilt(torch.zeros(1, 2), 0), "gamma must be a finite number above 0, got 0"),
        (lambda: tilt(torch.zeros(1, 2), -0.1), "gamma must be a finite number above 0, got -0.1"),
        (lambda: tilt(torch.zeros(1, 2), torch.ones(2)), "gamma must be one number"),
        (lambda: tilt(torch.zeros(1, 2), 1).expect(torch.zeros(2, 1)), "values and weights must have the same shape"),
        (lambda: tilt(torch.zeros(1, 2), 1).expect(torch.tensor([[0.0, math.inf]])), "values must be finite"),
        (lambda: solve_gamma(torch.zeros(3), 1.0), "utilities must be a non-empty tensor"),
        (lambda: solve_gamma(torch.tensor([[math.nan]]), 1.0), "utilities must be finite"),
        (lambda: solve_gamma(torch.zeros(1, 2), 0), "target_kl must be a finite number above 0"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()
