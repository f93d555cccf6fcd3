import math

import numpy as np
import pytest
import scipy.stats
import torch

from allgood import references


def draws(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def test_estimators_by_hand():
    rewards = torch.tensor([[1.0, 2.0, 3.0, 6.0]])
    found = references.mean(rewards)
    assert found.value.tolist() == [3.0]
    # std (ddof 1) = sqrt((4 + 1 + 0 + 9) / 3) = 2.160247, over sqrt(4)
    assert found.standard_error.item() == pytest.approx(1.0801234)
    assert references.median(rewards).value.tolist() == [2.5]
    # position 3 * 0.85 = 2.55: 3 + 0.55 * (6 - 3)
    assert references.empirical_quantile(rewards, 0.85).value.item() == pytest.approx(4.65)
    gaussian = references.gaussian_quantile(rewards, 0.85)
    assert gaussian.value.item() == pytest.approx(3 + 1.0364334 * 2.160247)
    assert gaussian.standard_error.item() == pytest.approx(2.160247 * math.sqrt(1 / 4 + 1.0364334**2 / 6))


@pytest.mark.parametrize("quantile", [0.01, 0.5, 0.85, 0.999])
@pytest.mark.parametrize("num_draws", [2, 7, 64])
def test_empirical_quantile_agrees_with_numpy(quantile, num_draws):
    rewards = draws(3, num_draws)
    expected = np.quantile(rewards.numpy(), quantile, axis=1)
    np.testing.assert_allclose(references.empirical_quantile(rewards, quantile).value.numpy(), expected, rtol=1e-12)


def test_estimators_follow_a_shift_and_a_scale_of_the_rewards():
    rewards = draws(3, 16)
    for estimate in (
        references.mean,
        references.median,
        lambda r: references.gaussian_quantile(r, 0.85),
        lambda r: references.empirical_quantile(r, 0.85),
    ):
        plain, moved = estimate(rewards), estimate(2 * rewards + 1e4)
        torch.testing.assert_close(moved.value, 2 * plain.value + 1e4)
        torch.testing.assert_close(moved.standard_error, 2 * plain.standard_error)


def test_failed_scores_are_left_out_of_each_prompt():
    rewards = np.array([[1.0, 3.0, math.nan], [2.0, 4.0, 9.0], [math.nan, math.nan, 5.0], [math.nan] * 3])
    found = references.of_scored(references.mean, rewards, at_least=1)
    np.testing.assert_array_equal(found, [2.0, 5.0, 5.0, math.nan])
    found = references.of_scored(references.median, rewards)  # of 2 scores or more
    np.testing.assert_array_equal(found, [2.0, 4.0, math.nan, math.nan])


def test_without_failures_the_value_is_the_estimators_own():
    rewards = draws(5, 7)
    expected = references.gaussian_quantile(rewards, 0.85).value.numpy()
    found = references.of_scored(lambda r: references.gaussian_quantile(r, 0.85), rewards.numpy())
    np.testing.assert_array_equal(found, expected)


def test_a_quantile_of_moments_is_that_of_the_draws_they_come_from():
    rewards = draws(3, 16)
    moments = rewards.numpy().mean(axis=1), rewards.numpy().std(axis=1, ddof=1)
    found = [references.normal_quantile(float(m), float(s), 0.85) for m, s in zip(*moments, strict=True)]
    assert found == references.gaussian_quantile(rewards, 0.85).value.tolist()


def test_the_error_of_a_single_draw_is_unknown_not_0():
    found = references.mean(torch.tensor([[2.0], [3.0]]))
    assert found.value.tolist() == [2.0, 3.0]
    assert found.standard_error.isnan().all()


def test_constant_rewards_have_no_error():
    rewards = torch.full((2, 5), 3.0)
    assert references.empirical_quantile(rewards, 0.85).value.tolist() == [3.0, 3.0]
    assert references.empirical_quantile(rewards, 0.85).standard_error.tolist() == [0.0, 0.0]
    assert references.gaussian_quantile(rewards, 0.85).standard_error.tolist() == [0.0, 0.0]


@pytest.mark.parametrize("quantile", [0, 1, -0.1, 85, math.nan])
def test_a_quantile_outside_0_1_is_refused(quantile):
    for estimate in (references.gaussian_quantile, references.empirical_quantile):
        with pytest.raises(ValueError, match=r"quantile must lie in \(0, 1\), got"):
            estimate(draws(2, 3), quantile)


def test_bad_draws_are_refused():
    for estimate in (
        references.mean,
        references.median,
        lambda r: references.gaussian_quantile(r, 0.5),
        references.normality,
    ):
        with pytest.raises(ValueError, match="draws must be a non-empty tensor"):
            estimate(draws(5))
        with pytest.raises(ValueError, match="draws must be a non-empty tensor"):
            estimate(draws(2, 0))
        with pytest.raises(ValueError, match="draws must be finite"):
            estimate(torch.full((1, 30), math.nan))
    with pytest.raises(ValueError, match="at least 2 per prompt, got 1"):
        references.gaussian_quantile(draws(2, 1), 0.5)
    with pytest.raises(ValueError, match="at least 20 per prompt, got 19"):
        references.normality(draws(2, 19))


def test_normality_agrees_with_scipy_and_tells_normal_from_skewed():
    normal = draws(400, 64)
    found = references.normality(normal)
    np.testing.assert_allclose(found.p_value.numpy(), scipy.stats.normaltest(normal.numpy(), axis=1).pvalue)
    np.testing.assert_allclose(found.skewness.numpy(), scipy.stats.skew(normal.numpy(), axis=1))
    np.testing.assert_allclose(found.excess_kurtosis.numpy(), scipy.stats.kurtosis(normal.numpy(), axis=1))
    assert 0.02 < found.share_rejected < 0.10
    assert references.normality(normal.exp()).share_rejected > 0.95


def test_constant_rewards_are_not_normal():
    rewards = torch.cat([torch.ones(1, 30), draws(1, 30).float()])
    found = references.normality(rewards)
    assert found.p_value[0] == 0
    assert found.p_value[1] > 0.01
