"""A property's view: P(good) and its log-odds, wherever they are read."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from allgood.views import MOST_ODDS, MOST_ROUNDED_ODDS, GoodFrom, PropertyView

NAN = float("nan")


def view(margins: list[float], utilities: list[float], good_from: GoodFrom = "margin") -> PropertyView:
    z = np.float32(margins)
    return PropertyView(z + 1, np.ones_like(z), z, np.float32(utilities), good_from)


def test_p_good_of_a_margin_is_its_sigmoid_and_of_a_log_probability_that_one() -> None:
    by_margin = view([0.0, 2.0, NAN], [0.0, 2.0, NAN])
    np.testing.assert_allclose(by_margin.p_good, [0.5, 0.880797, NAN], rtol=1e-6)
    assert by_margin.log_odds.tolist()[:2] == [0.0, 2.0]
    given_by = view([-1.0, NAN], [np.log(0.2), NAN], "log_prob")
    np.testing.assert_allclose(given_by.p_good, [0.2, NAN], rtol=1e-6)
    np.testing.assert_allclose(given_by.log_odds, [np.log(0.2 / 0.8), NAN], rtol=1e-6)


@pytest.mark.parametrize(
    ("good_from", "most", "by_hand"),
    [("log_prob", MOST_ODDS, 126 * np.log(2)), ("rounded_log_prob", MOST_ROUNDED_ODDS, 24 * np.log(2))],
)
def test_certainty_has_odds_as_large_as_its_log_probability_can_tell(
    good_from: GoodFrom, most: float, by_hand: float
) -> None:
    assert view([0.0], [0.0], good_from).log_odds[0] == most == pytest.approx(by_hand)


@given(st.floats(-80, 10))
def test_odds_of_a_log_probability_are_those_that_it_came_from(odds: float) -> None:
    found = view([0.0], [-np.logaddexp(0.0, -odds)], "log_prob").log_odds[0]
    assert found == pytest.approx(odds, rel=1e-5, abs=1e-6)


def test_views_are_joined_in_order_and_flattened_prompt_by_prompt() -> None:
    first, second = view([1.0, 2.0], [3.0, NAN], "log_prob"), view([5.0], [6.0], "log_prob")
    joined = PropertyView.concatenated([first, second])
    assert joined.margins.tolist() == [1.0, 2.0, 5.0]
    assert joined.failed.tolist() == [False, True, False]
    assert joined.good_from == "log_prob"
    grid = PropertyView(*(np.float32([[1.0, 2.0], [3.0, 4.0]]) for _ in range(4)), good_from="log_prob")
    assert grid.flat().utilities.tolist() == [1.0, 2.0, 3.0, 4.0]
    assert grid.flat().good_from == "log_prob"
