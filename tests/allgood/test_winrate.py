import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from allgood import winrate

NAN, INF = math.nan, math.inf


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


def test_failed_scores_meet_nobody_and_a_prompt_without_a_pair_has_no_win_rate():
    found = winrate.win_rate_by_prompt([[NAN, 3.0], [NAN, NAN]], [[0.0, INF], [2.0, 2.0]])
    assert found[0] == 1.0
    assert found[1].isnan()


SCORES = st.lists(st.sampled_from([0.0, 1.0, 2.0, NAN, INF]), min_size=1, max_size=6)


@given(SCORES, SCORES)
def test_win_rate_is_the_exact_share_of_known_pairs_rounded_once(scores, baseline):
    pairs = [(a, b) for a in scores for b in baseline if math.isfinite(a) and math.isfinite(b)]
    half_wins = sum(2 * (a > b) + (a == b) for a, b in pairs)
    found = winrate.win_rate_by_prompt([scores], [baseline]).item()
    assert found == float(Fraction(half_wins, 2 * len(pairs))) if pairs else math.isnan(found)


def test_scores_of_a_table_which_cannot_be_written_are_read_without_a_warning():
    scores = np.array([[1.0, 2.0]])
    scores.flags.writeable = False
    assert winrate.win_rate_by_prompt(scores, scores).tolist() == [0.5]


def test_both_win_rate_by_hand():
    scores = {"a": [[1.0, 2.0]], "b": [[5.0, 1.0]]}
    baseline = {"a": [[1.0]], "b": [[4.0]]}
    # (1, 5) against (1, 4): as good in a, better in b; (2, 1): worse in b
    assert winrate.both_win_rate_by_prompt(scores, baseline).tolist() == [0.5]


def test_equal_in_every_property_is_no_win():
    scores = {"a": [[1.0, 1.0]], "b": [[2.0, 2.0]]}
    assert winrate.both_win_rate_by_prompt(scores, scores).tolist() == [0.0]


def test_a_sample_that_failed_in_one_property_meets_nobody():
    scores = {"a": [[1.0, 2.0], [1.0, 1.0]], "b": [[5.0, NAN], [NAN, INF]]}
    baseline = {"a": [[1.0, 0.0], [0.0, 0.0]], "b": [[4.0, NAN], [0.0, 0.0]]}
    found = winrate.both_win_rate_by_prompt(scores, baseline)
    assert found[0] == 1.0  # (1, 5) against (1, 4) is the only pair known in full
    assert found[1].isnan()


def test_bad_input_is_refused():
    for call, message in [
        (lambda: winrate.win_rate_by_prompt([[1.0]], [[1.0], [2.0]]), "must be about the same prompts, got 1 and 2"),
        (lambda: winrate.win_rate_by_prompt([1.0], [[1.0]]), "scores must be non-empty"),
        (lambda: winrate.win_rate_by_prompt([[1.0]], torch.zeros(1, 0)), "baseline must be non-empty"),
        (lambda: winrate.both_win_rate_by_prompt({"a": [[1.0]]}, {"b": [[1.0]]}), "must hold the same properties"),
        (lambda: winrate.both_win_rate_by_prompt({}, {}), "must hold the same properties"),
        (
            lambda: winrate.both_win_rate_by_prompt({"a": [[1.0]], "b": [[1.0, 2.0]]}, {"a": [[1.0]], "b": [[1.0]]}),
            "must have the same shape",
        ),
    ]:
        with pytest.raises(ValueError, match=message):
            call()
