"""Coordinates of samples whose truth is known: unbiased with 16 samples per prompt, in intervals that hold it."""

import numpy as np
import pytest

from allgood.diagnosis.coordinates import Point, interval, overrated_interval, point_of, statistics_of
from allgood.diagnosis.variation import both_exceed
from tests.allgood.diagnosis.synthetic import SPREAD, samples_of


def mean_point(read: str, **world: float) -> float:
    """A coordinate's mean over several draws of 100 prompts x 16 samples."""
    points = [point_of(statistics_of(samples_of(100, 16, seed=seed, **world))) for seed in range(8)]
    return float(np.mean([vars_of(point)[read] for point in points]))


def vars_of(point: Point) -> dict[str, float]:
    return {
        "spread": float(point.spreads.mean()),
        "between": point.between_prompts**2,
        "mixed": point.mixed**2,
        "good": float(point.good.mean()),
        "bars": float(np.mean(np.diag(point.variation.covariance)[2 * point.num_properties :])),
        "agreement": float(point.agreement.mean()),
        "judge": float(point.judge_correlations.mean()),
        "room": float(point.room.mean()),
        "overrated": float(point.overrated.mean()),
    }


def test_sixteen_samples_show_the_true_variation_of_spreads_and_no_more() -> None:
    # By chance alone the log of a deviation of 16 samples varies by 0.19: a variance of 0.035 on top of the truth.
    world = {"between": 0.5, "mixed": 0.3}
    assert mean_point("spread", **world) == pytest.approx(SPREAD, rel=0.06)
    assert mean_point("between", **world) == pytest.approx(0.25, abs=0.03)
    assert mean_point("mixed", **world) == pytest.approx(0.09, abs=0.02)
    assert mean_point("between") == pytest.approx(0, abs=0.004)
    assert mean_point("mixed") == pytest.approx(0, abs=0.006)


def test_bars_agreement_and_correlation_are_the_truth() -> None:
    world = {"noise": 0.5, "correlation": 0.3, "bar_variation": 0.7}
    assert mean_point("bars", **world) == pytest.approx(0.49, abs=0.1)
    assert mean_point("agreement", **world) == pytest.approx(1 / np.sqrt(1.25), abs=0.005)
    assert mean_point("judge", **world) == pytest.approx(0.3, abs=0.03)
    assert mean_point("good") == pytest.approx(0.15, abs=0.01)


@pytest.mark.parametrize("ceiling", [0.25, 0.5, 1.0])
def test_where_gold_ends_is_found_from_the_mean_excess(ceiling: float) -> None:
    ceilings = [point_of(statistics_of(samples_of(200, 16, ceiling=ceiling, seed=s))).ceilings.mean() for s in range(4)]
    assert np.mean(ceilings) == pytest.approx(ceiling, rel=0.12)


def test_room_of_normal_gold_is_half_a_spread_whatever_the_number_of_samples() -> None:
    # E[z - b | z > b] = density(b) / 0.15 - b = 1.554 - 1.036 at the 85 % quantile.
    assert mean_point("room") == pytest.approx(0.518, abs=0.015)
    assert point_of(statistics_of(samples_of(100, 256))).room.mean() == pytest.approx(0.518, abs=0.015)


@pytest.mark.slow
def test_intervals_hold_the_truth_at_about_their_level() -> None:
    held = []
    for seed in range(24):
        found = statistics_of(samples_of(80, 16, between=0.5, noise=0.5, seed=seed))
        drawn = [point_of(each) for each in found.resamples(60)]
        point = point_of(found)
        for truth, values in (
            (0.5, [each.between_prompts for each in (point, *drawn)]),
            (SPREAD * np.sqrt(1.25), [float(each.spreads[0]) for each in (point, *drawn)]),
            (0.0, [float(each.judge_correlations[0]) for each in (point, *drawn)]),
        ):
            around = interval(values[0], np.array(values[1:]))
            held.append(around.low <= truth <= around.high)
    assert np.mean(held) >= 0.82  # of 72; 95 % less what 60 resamples miss of the ends, and chance


def test_one_percent_of_overrated_answers_shows_in_three_thousand_and_not_in_two_hundred() -> None:
    many = statistics_of(samples_of(200, 16, noise=0.3, rate=0.01))
    shares = np.array([point_of(each).overrated[0] for each in many.resamples(100)])
    found = overrated_interval(many.disagreements[0], 16, shares)
    assert found.low > 0
    assert found.low <= 0.01 <= found.high
    none = statistics_of(samples_of(25, 8, noise=0.3))
    shares = np.array([point_of(each).overrated[0] for each in none.resamples(100)])
    hidden = overrated_interval(none.disagreements[0], 8, shares)
    assert hidden.low <= 0
    assert hidden.high > 0.01  # 200 answers could hide 1 %


def test_both_exceed_is_a_product_without_correlation_and_an_orthant_with_it() -> None:
    assert both_exceed(np.array([0.0, 0.0]), 0.5) == pytest.approx(1 / 3)  # 1/4 + asin(1/2) / (2 pi)
    assert both_exceed(np.array([0.0, 0.0]), 0.0) == pytest.approx(0.25)
