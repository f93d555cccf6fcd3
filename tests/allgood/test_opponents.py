"""Win rates of a reweighted pi_0 against itself, from one set of samples."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from allgood.opponents import best_of_k_win_rate, both_win_shares, weighted_win_rate, win_shares
from allgood.tilting import solve_gamma, tilt


def grid(num_prompts: int, num_samples: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(num_prompts, num_samples, generator=generator, dtype=torch.float64)


def obvious_win_rate(weights: Tensor, scores: Tensor, fold_of: list[int]) -> float:
    """One prompt, spelled out: each sample as the opponent, met by the samples of other folds."""
    rates = []
    for opponent, score in enumerate(scores.tolist()):
        others = [n for n in range(len(scores)) if fold_of[n] != fold_of[opponent]]
        wins = [float(weights[n]) * ((scores[n] > score) + 0.5 * (scores[n] == score)) for n in others]
        rates.append(float(sum(wins)) / float(sum(weights[n] for n in others)))
    return sum(rates) / len(rates)


def test_by_hand_three_samples_the_best_of_which_holds_all_the_weight() -> None:
    # opponent 1: 3 against it wins; opponent 2: likewise; opponent 3: the weights of the others are equal, they lose
    weights = torch.tensor([[0.01, 0.01, 0.98]])
    rate = weighted_win_rate(weights, win_shares(torch.tensor([[1.0, 2.0, 3.0]])))
    by_opponent = ((0.01 + 0.98) / 0.99, 0.98 / 0.99, 0.0)
    torch.testing.assert_close(rate, torch.tensor([sum(by_opponent) / 3], dtype=torch.float64))


@given(st.integers(2, 9), st.integers(2, 9), st.integers(0, 99))
def test_equals_the_obvious_loop_over_opponents(num_samples: int, num_folds: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randint(0, 4, (3, num_samples), generator=generator).double()  # with ties
    weights = torch.rand(3, num_samples, generator=generator, dtype=torch.float64) + 0.01
    folds = [n % min(num_folds, num_samples) for n in range(num_samples)]
    expected = [obvious_win_rate(weights[p], scores[p], folds) for p in range(3)]
    found = weighted_win_rate(weights, win_shares(scores, num_folds=num_folds))
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))


@given(st.integers(2, 40), st.integers(0, 99))
def test_equal_weights_win_half(num_samples: int, seed: int) -> None:
    scores = grid(2, num_samples, seed)
    rate = weighted_win_rate(torch.ones(2, num_samples), win_shares(scores))
    if num_samples <= 32:  # else a fold's samples never meet each other, which is fair only on average
        torch.testing.assert_close(rate, torch.full((2,), 0.5, dtype=torch.float64))
    else:
        assert (rate - 0.5).abs().max() < 0.1


def test_opposite_scores_share_one() -> None:
    scores, weights = grid(5, 7), torch.softmax(grid(5, 7, seed=1), -1)
    total = weighted_win_rate(weights, win_shares(scores)) + weighted_win_rate(weights, win_shares(-scores))
    torch.testing.assert_close(total, torch.ones(5, dtype=torch.float64))


def test_stacked_comparisons_and_settings_equal_one_by_one() -> None:
    first, second = win_shares(grid(3, 6)), win_shares(grid(3, 6, seed=1))
    weights = torch.softmax(grid(4 * 3, 6, seed=2), -1).reshape(4, 3, 6)
    together = weighted_win_rate(weights, torch.stack([first, second], dim=2))
    assert together.shape == (4, 3, 2)
    for setting in range(4):
        torch.testing.assert_close(together[setting, :, 0], weighted_win_rate(weights[setting], first))
        torch.testing.assert_close(together[setting, :, 1], weighted_win_rate(weights[setting], second))


def test_one_sample_with_all_the_weight_to_rounding_still_meets_everybody() -> None:
    scores = torch.tensor([[0.0, 1.0, 2.0, 3.0]], dtype=torch.float64)
    weights = torch.softmax(1000 * scores, -1)  # 1 and e^-1000, which is 0
    assert float(weighted_win_rate(weights, win_shares(scores))) == pytest.approx(1.0)
    steep = torch.softmax(100 * scores, -1)  # the others' weights are below the rounding of 1, and count
    assert float(weighted_win_rate(steep, win_shares(scores))) == pytest.approx(0.75)


def test_both_means_as_good_everywhere_and_better_somewhere() -> None:
    scores = {"a": torch.tensor([[0.0, 0.0, 1.0]]), "b": torch.tensor([[0.0, 1.0, 0.0]])}
    shares = both_win_shares(scores)[0]
    expected = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [1.0, 0.0, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(shares, expected)


@pytest.mark.parametrize("kl", [0.5, 1.0, 2.0])
def test_the_win_rate_lies_on_the_gaussian_frontier_at_the_kl_that_the_samples_show(kl: float) -> None:
    """For Gaussian utilities the tilt shifts the mean by sqrt(2 KL), and wins Phi(sqrt(KL)) of the time."""
    utilities = grid(3000, 16)
    tilted = tilt(utilities, 1 / math.sqrt(2 * kl))
    rate = float(weighted_win_rate(tilted.weights, win_shares(utilities)).mean())
    shown = float(tilted.kl.mean())
    assert rate == pytest.approx(0.5 * (1 + math.erf(math.sqrt(shown / 2))), abs=0.007)
    ranks = utilities.argsort(-1).argsort(-1) / 15  # the opponent takes part in the weights: too high
    assert float((tilted.weights * ranks).sum(-1).mean()) > rate + 0.015


def test_best_of_k_by_its_own_score_wins_k_of_k_plus_one() -> None:
    scores = grid(2000, 16)
    rates = best_of_k_win_rate(scores, [1, 2, 5, 12], win_shares(scores, num_folds=4)).mean(-1)
    expected = torch.tensor([1 / 2, 2 / 3, 5 / 6, 12 / 13], dtype=torch.float64)
    torch.testing.assert_close(rates, expected, atol=0.005, rtol=0)


def test_best_of_k_by_another_score_wins_half() -> None:
    shares = win_shares(grid(3000, 12), num_folds=4)
    rates = best_of_k_win_rate(grid(3000, 12, seed=1), [9], shares)
    assert float(rates.mean()) == pytest.approx(0.5, abs=0.015)


def test_a_win_rate_of_a_solved_tilt_rises_with_its_kl() -> None:
    utilities = grid(200, 32)
    shares = win_shares(utilities)
    rates = [
        float(weighted_win_rate(tilt(utilities, solve_gamma(utilities, kl)).weights, shares).mean())
        for kl in (0.1, 0.5, 1.0)
    ]
    assert rates == sorted(rates)


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 2 samples"):
        win_shares(torch.zeros(3, 1))
    with pytest.raises(ValueError, match="finite"):
        win_shares(torch.tensor([[0.0, math.nan]]))
    with pytest.raises(ValueError, match="at least one property"):
        both_win_shares({})
    with pytest.raises(ValueError, match="weights must be"):
        weighted_win_rate(torch.ones(2, 3), win_shares(torch.zeros(3, 2)))
    with pytest.raises(ValueError, match="k must lie in"):
        best_of_k_win_rate(grid(2, 8), [7], win_shares(grid(2, 8), num_folds=4))
