"""What the calculation says at given coordinates: the laws that its sums obey."""

from __future__ import annotations

import numpy as np
import pytest

from allgood.idealised.objectives import CAPPED, LSC, RAW, Z_SCORE
from experiments.real_data.predicted import Coordinates, all_good_rates, rate_before


def test_a_z_scored_sum_is_the_raw_sum_where_spreads_are_alike() -> None:
    rates = all_good_rates(Coordinates(1.5, 0.6, -0.2), (RAW, Z_SCORE))
    assert rates[Z_SCORE] == pytest.approx(rates[RAW], abs=1e-4)


def test_rewards_of_no_spread_make_the_log_sigmoid_a_straight_line() -> None:
    rates = all_good_rates(Coordinates(0.01, 0.6, -0.2), (RAW, LSC))
    assert rates[LSC] == pytest.approx(rates[RAW], rel=5e-3)


@pytest.mark.slow
def test_a_tuned_cap_is_never_far_below_none_and_is_safe_from_overrating() -> None:
    rates = all_good_rates(Coordinates(4.0, 0.8, -0.34, mixed=0.4, overrated=0.01), (RAW, CAPPED))
    assert (rates[CAPPED] > 1.5 * rates[RAW]).all()


def test_all_rates_start_from_what_pi_0_gives_and_rise_with_kl() -> None:
    coordinates = Coordinates(1.0, 0.7, 0.0)
    # Independent golds over an 85 % quantile each: 0.15^2.
    assert rate_before(coordinates) == pytest.approx(0.0225, abs=1e-4)
    for by_kl in all_good_rates(coordinates).values():
        assert by_kl[0] > 0.0225
        assert (np.diff(by_kl) > 0).all()
