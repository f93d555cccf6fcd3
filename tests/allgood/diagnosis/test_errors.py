"""Tails and overrating of reward models."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from allgood.diagnosis.coordinates import interval, point_of, statistics_of
from allgood.diagnosis.errors import l_kurtosis, l_moments
from allgood.diagnosis.tails import expected_l_kurtosis, tail_of
from allgood.intervals import Interval
from tests.allgood.diagnosis.synthetic import samples_of


def test_l_moments_of_five_numbers_by_hand() -> None:
    # 1 2 4 7 11: half the mean difference of pairs (1 3 6 10 2 5 9 3 7 4, mean 5).
    second, fourth = l_moments(np.array([[7.0, 1.0, 11.0, 2.0, 4.0]]))
    assert second[0] == pytest.approx(2.5)
    # A quarter of the mean of d - 3c + 3b - a over the quadruples a < b < c < d.
    quadruples = [(1, 2, 4, 7), (1, 2, 4, 11), (1, 2, 7, 11), (1, 4, 7, 11), (2, 4, 7, 11)]
    assert fourth[0] == pytest.approx(np.mean([d - 3 * c + 3 * b - a for a, b, c, d in quadruples]) / 4)


@given(st.floats(-100, 100), st.floats(0.01, 100))
def test_l_kurtosis_has_no_place_and_no_unit(shift: float, scale: float) -> None:
    values = np.random.default_rng(0).standard_normal((5, 8))
    expected = l_kurtosis(l_moments(values))
    assert l_kurtosis(l_moments(shift + scale * values)) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("num_samples", [8, 64])
def test_l_kurtosis_of_a_normal_is_not_bent_by_few_samples(num_samples: int) -> None:
    values = np.random.default_rng(0).standard_normal((400_000 // num_samples, num_samples))
    assert l_kurtosis(l_moments(values)) == pytest.approx(0.1226, abs=0.002)


@pytest.mark.parametrize(("heavy", "tail"), [(False, "normal"), (True, "heavy")])
def test_sixteen_samples_tell_the_tail_of_t3_from_a_normal(heavy: bool, tail: str) -> None:
    found = statistics_of(samples_of(200, 16, noise=0.75, heavy=heavy, seed=2))
    drawn = np.array([point_of(each).l_kurtosis[0] for each in found.resamples(100)])
    point = point_of(found)
    around = interval(float(point.l_kurtosis[0]), drawn)
    assert tail_of(around, expected_l_kurtosis(16, float(point.agreement[0]))) == tail


@pytest.mark.parametrize(
    ("low", "high", "tail"), [(0.1, 0.14, "normal"), (0.1, 0.3, "unclear"), (0.15, 0.2, "between"), (0.2, 0.3, "heavy")]
)
def test_a_tail_is_what_its_interval_holds(low: float, high: float, tail: str) -> None:
    assert tail_of(Interval((low + high) / 2, low, high, 0.01), (0.12, 0.26)) == tail


def test_overrated_answers_do_not_hide_themselves() -> None:
    found = point_of(statistics_of(samples_of(400, 16, noise=0.3, rate=0.02)))
    np.testing.assert_allclose(found.overrated, 0.02, atol=0.005)
    np.testing.assert_allclose(found.agreement, 1 / np.sqrt(1.09), atol=0.02)
