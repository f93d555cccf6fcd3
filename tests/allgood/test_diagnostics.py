import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from allgood import diagnostics
from allgood.tilting import solve_gamma, tilt

NAN = math.nan


def test_saturation_by_hand_leaves_out_failures():
    found = diagnostics.saturation([[0.5, 0.99, NAN]])
    assert found.mean_p_good == pytest.approx(0.745)
    assert found.share_saturated == 0.5
    assert diagnostics.saturation([[0.95, 0.96]]).share_saturated == 0.5  # 0.95 itself is not over the bar


def test_without_a_score_nothing_is_known_of_saturation():
    found = diagnostics.saturation([[NAN, NAN]])
    assert math.isnan(found.mean_p_good)
    assert math.isnan(found.share_saturated)


def test_correlation_is_given_the_prompt():
    generator = torch.Generator().manual_seed(0)
    difficulty = 10 * torch.randn(50, 1, generator=generator)
    first, second = (torch.randn(50, 8, generator=generator) for _ in range(2))
    one, other, opposed = difficulty + first, difficulty + second, difficulty - first
    # what the prompts have in common is taken out
    assert abs(diagnostics.within_prompt_correlation(one, other)) < 0.15
    assert diagnostics.within_prompt_correlation(one, opposed) == pytest.approx(-1, abs=1e-6)
    expected = np.corrcoef(one[3], other[3])[0, 1]
    assert diagnostics.within_prompt_correlation(one[3:4], other[3:4]) == pytest.approx(expected, rel=1e-4)


def test_a_margin_that_never_varies_has_no_correlation():
    assert math.isnan(diagnostics.within_prompt_correlation(torch.zeros(2, 3), torch.randn(2, 3)))
    difficulty = [[0.0], [100.0], [200.0]]  # a single sample never varies
    assert math.isnan(diagnostics.within_prompt_correlation(difficulty, difficulty))


@given(st.integers(0, 10_000))
def test_a_sample_that_failed_counts_like_one_that_was_never_drawn(seed):
    generator = np.random.default_rng(seed)
    first, second = generator.normal(size=(2, 4, 5))
    failed = first.copy()
    failed[:, 2] = NAN
    kept_first, kept_second = np.delete(first, 2, axis=1), np.delete(second, 2, axis=1)
    expected = diagnostics.within_prompt_correlation(kept_first, kept_second)
    assert diagnostics.within_prompt_correlation(failed, second) == pytest.approx(expected)
    expected = diagnostics.agreement_by_prompt(kept_first, kept_second)
    assert diagnostics.agreement_by_prompt(failed, second) == pytest.approx(expected)
    assert diagnostics.improvement(failed, second).gains_at == pytest.approx(
        diagnostics.improvement(kept_first, second).gains_at
    )
    assert diagnostics.saturation(np.exp(-(failed**2))).mean_p_good == pytest.approx(np.exp(-(kept_first**2)).mean())


def test_agreement_is_the_share_of_pairs_in_the_same_order():
    # pairs (0,1) same, (0,2) same, (1,2) opposite; in the second row every pair is a tie of one scorer
    shares = diagnostics.agreement_by_prompt([[1.0, 2.0, 3.0], [1.0, 1.0, 1.0]], [[1.0, 9.0, 5.0], [1.0, 2.0, 3.0]])
    assert shares[0] == pytest.approx(2 / 3)
    assert np.isnan(shares[1])


def test_improvement_by_hand_describes_the_spread_over_prompts():
    gains = np.arange(-2.0, 8.0)  # two prompts worse, one equal, seven better
    found = diagnostics.improvement(np.stack([gains - 1, gains + 1], axis=1), np.zeros((10, 3)))
    assert (found.share_improved, found.share_worse) == (0.7, 0.2)
    assert (found.worst_decile, found.best_decile, found.mean) == (-2.0, 7.0, 2.5)
    assert (found.gains_at[0], found.gains_at[10], found.gains_at[-1]) == (-2.0, 2.5, 7.0)


def test_prompts_without_a_score_have_no_part_in_the_improvement():
    baseline, scores = np.zeros((4, 2)), [[1.0, NAN], [-1.0, -1.0], [NAN, NAN], [2.0, 2.0]]
    assert diagnostics.improvement(scores, baseline) == diagnostics.improvement([[1.0], [-1.0], [2.0]], [[0.0]] * 3)
    nothing = diagnostics.improvement(np.full((2, 2), NAN), np.zeros((2, 2)))
    assert np.isnan([nothing.mean, nothing.share_improved, *nothing.gains_at]).all()


def test_the_optimum_of_log_sigmoids_spreads_its_gain_more_evenly_at_the_same_kl():
    spreads = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
    levels = (torch.arange(20_001, dtype=torch.float64) + 0.5) / 20_001
    rewards = spreads[:, None] * torch.special.ndtri(levels)

    def gains(utilities):
        return tilt(utilities, solve_gamma(utilities, 0.2)).expect(rewards)[:, None]

    raw, even = gains(rewards), gains(torch.nn.functional.logsigmoid(rewards - spreads[:, None]))
    # Gaussian: the gain is s^2 / gamma, the mean KL that of mean s^2 / (2 gamma^2)
    gamma = math.sqrt(float(spreads.square().mean()) / 0.4)
    assert raw[:, 0].tolist() == pytest.approx((spreads.square() / gamma).tolist(), rel=1e-2)
    uneven, evener = (diagnostics.improvement(each, rewards) for each in (raw, even))
    assert evener.worst_decile / evener.mean > uneven.worst_decile / uneven.mean
    assert evener.best_decile / evener.mean < uneven.best_decile / uneven.mean


def test_bad_input_is_refused():
    z = torch.zeros(2, 3)
    for call, message in [
        (lambda: diagnostics.saturation(z[0]), r"p_good must be \[prompts, samples\], got shape \(3,\)"),
        (lambda: diagnostics.within_prompt_correlation(z, z[:1]), "must have the same shape"),
        (lambda: diagnostics.within_prompt_correlation(z[0], z[0]), r"first must be \[prompts, samples\]"),
        (lambda: diagnostics.agreement_by_prompt(z, z[:, :2]), "must have the same shape"),
        (lambda: diagnostics.improvement([[1.0]], [[1.0], [2.0]]), "same prompts, got 1 and 2"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()
