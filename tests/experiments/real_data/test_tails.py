"""The test of tails: residuals by hand, and laws that it tells apart."""

from __future__ import annotations

import numpy as np
import pytest

from experiments.real_data.tails import Regressions, excess_kurtosis, laws, share_far_above, tail_test

PROMPTS, ANSWERS = 120, 25


def judge() -> np.ndarray:
    grid = np.random.default_rng(5).normal(size=(PROMPTS, ANSWERS))
    grid[::3, -6:] = np.nan
    return grid


def test_residuals_are_what_least_squares_leaves_whatever_the_slope() -> None:
    explaining, random = judge(), np.random.default_rng(0)
    errors = random.normal(size=explaining.shape)
    regressions = Regressions.on(explaining)
    first, second = (regressions.errors(slope * explaining + 7 + errors) for slope in (0.0, -3.0))
    for one, other in zip(first, second, strict=True):
        assert one == pytest.approx(other, abs=1e-8)


def test_studentised_by_hand() -> None:
    # Three answers on a constant alone: residuals -1, 0, 1, s = 1, leverage 1/3 each.
    found = Regressions.on(np.zeros((1, 3))).errors(np.array([[4.0, 5.0, 6.0]]))[0]
    assert found == pytest.approx([-np.sqrt(1.5), 0, np.sqrt(1.5)])


@pytest.mark.parametrize(
    ("law", "inside"), [("normal", True), ("Laplace", False), pytest.param("t(3)", False, marks=pytest.mark.slow)]
)
def test_errors_of_a_law_lie_in_its_range_and_heavy_ones_beyond_the_normal(law: str, inside: bool) -> None:
    explaining, random = judge(), np.random.default_rng(1)
    scores = [0.4 * explaining + laws((2.1, 6.3))[law](random, explaining.shape) for _ in range(40)]
    found = tail_test(scores[0], [explaining], overrated=(2.1, 6.3), seed=0)["statistics"]["excess kurtosis"]["laws"]
    regressions = Regressions.on(explaining)
    drawn = np.array([excess_kurtosis(np.concatenate(regressions.errors(score))) for score in scores])
    assert ((drawn > found[law]["low"]) & (drawn < found[law]["high"])).sum() >= 34  # of 40 at 95 %
    assert (drawn < found["normal"]["high"]).sum() >= 34 if inside else (drawn > found["normal"]["high"]).all()
    assert found["t(3)"]["power"] > 0.99
    assert found["normal"]["power"] < 0.1


def test_overrating_is_seen_above_and_not_below() -> None:
    explaining = judge()
    errors = laws((2.1, 6.3))["normal, 1 % overrated"](np.random.default_rng(2), explaining.shape)
    result = tail_test(explaining + errors, [explaining], overrated=(2.1, 6.3), seed=0)
    above = result["statistics"]["share above 3"]
    assert above["observed"] > above["laws"]["normal"]["high"]
    assert result["share_below"] <= above["laws"]["normal"]["high"]
    assert above["laws"]["normal, 1 % overrated"]["power"] > 0.9


def test_statistics_by_hand() -> None:
    # -1, 1: fourth moment over the square of the second is 1, so that the excess is -2.
    assert excess_kurtosis(np.array([-1.0, 1.0])) == pytest.approx(-2)
    assert share_far_above(np.array([3.1, 3.0, -4.0, 0.0])) == pytest.approx(0.25)
