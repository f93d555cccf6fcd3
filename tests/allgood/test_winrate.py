import math

import pytest
import torch

from allgood import winrate


def slow_win_rate(scores, baseline):
    """Every pair, as the definition reads."""
    return [
        sum((mine > other) + 0.5 * (mine == other) for mine in row for other in others) / (len(row) * len(others))
        for row, others in zip(scores, baseline, strict=True)
    ]


def test_win_rate_by_hand():
    # 1 beats 0, ties 1; 2 beats both
    assert winrate.win_rate_by_prompt([[1.0, 2.0]], [[1.0, 0.0]]).tolist() == [3.5 / 4]


def test_win_rate_agrees_with_every_pair_compared():
    generator = torch.Generator().manual_seed(0)
    scores = torch.randint(0, 4, (5, 3), generator=generator)
    baseline = torch.randint(0, 4, (5, 7), generator=generator)
    expected = slow_win_rate(scores.tolist(), baseline.tolist())
    assert winrate.win_rate_by_prompt(scores, baseline).tolist() == pytest.approx(expected)


def test_win_and_loss_add_up_to_one():
    generator = torch.Generator().manual_seed(0)
    scores, baseline = (torch.randint(0, 3, (5, 4), generator=generator) for _ in range(2))
    total = winrate.win_rate_by_prompt(scores, baseline) + winrate.win_rate_by_prompt(baseline, scores)
    torch.testing.assert_close(total, torch.ones(5, dtype=torch.float64))


def test_the_interval_is_about_the_mean_over_prompts():
    generator = torch.Generator().manual_seed(0)
    scores, baseline = torch.randn(200, 4, generator=generator) + 1, torch.randn(200, 4, generator=generator)
    found = winrate.win_rate(scores, baseline, seed=0)
    assert found.value == pytest.approx(float(winrate.win_rate_by_prompt(scores, baseline).mean()))
    # P(N(1, 2) > 0) = Phi(1 / sqrt 2)
    assert found.low < 0.5 * (1 + math.erf(0.5)) < found.high


def test_both_win_rate_by_hand():
    scores = {"a": [[1.0, 2.0]], "b": [[5.0, 1.0]]}
    baseline = {"a": [[1.0]], "b": [[4.0]]}
    # (1, 5) against (1, 4): as good in a, better in b; (2, 1): worse in b
    assert winrate.both_win_rate_by_prompt(scores, baseline).tolist() == [0.5]


def test_equal_in_every_property_is_no_win():
    scores = {"a": [[1.0, 1.0]], "b": [[2.0, 2.0]]}
    assert winrate.both_win_rate_by_prompt(scores, scores).tolist() == [0.0]


def test_paired_comparison_by_hand_and_with_unlike_numbers_of_samples():
    found = winrate.paired_comparison([[1.0, 3.0], [0.0, 0.0], [2.0, 2.0]], [[1.0], [0.0], [4.0]], seed=0)
    # differences 1, 0, -2
    assert found.difference.value == pytest.approx(-1 / 3)
    assert (found.share_better, found.share_worse) == (pytest.approx(1 / 3), pytest.approx(1 / 3))


def test_pairing_removes_what_prompts_have_in_common():
    generator = torch.Generator().manual_seed(0)
    difficulty = 10 * torch.randn(200, generator=generator)
    better = winrate.paired_comparison(difficulty + 0.1, difficulty, seed=0)
    assert better.difference.low == pytest.approx(0.1, abs=1e-5)
    assert winrate.cluster_bootstrap(difficulty + 0.1, seed=0).standard_error > 0.5


def test_bad_input_is_refused():
    for call, message in [
        (lambda: winrate.win_rate_by_prompt([[1.0]], [[1.0], [2.0]]), "must be about the same prompts, got 1 and 2"),
        (lambda: winrate.win_rate_by_prompt([1.0], [[1.0]]), "scores must be non-empty"),
        (lambda: winrate.win_rate_by_prompt([[1.0]], torch.zeros(1, 0)), "baseline must be non-empty"),
        (lambda: winrate.win_rate_by_prompt([[math.nan]], [[1.0]]), "scores must be finite"),
        (lambda: winrate.both_win_rate_by_prompt({"a": [[1.0]]}, {"b": [[1.0]]}), "must hold the same properties"),
        (lambda: winrate.both_win_rate_by_prompt({}, {}), "must hold the same properties"),
        (
            lambda: winrate.both_win_rate_by_prompt({"a": [[1.0]], "b": [[1.0, 2.0]]}, {"a": [[1.0]], "b": [[1.0]]}),
            "must have the same shape",
        ),
        (lambda: winrate.paired_comparison([1.0], [1.0, 2.0], seed=0), "same prompts, got 1 and 2 prompts"),
        (lambda: winrate.paired_comparison([math.nan], [1.0], seed=0), "values must be finite"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()
