"""The grid over both rewards: against the map's own code, a library's bivariate normal, and what overrating adds."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import multivariate_normal

from allgood.idealised.cells import BARS, MAIN_BAR, Cell, Errors
from allgood.idealised.matching import at_mean_kl
from allgood.idealised.objectives import LSC, RAW, World
from allgood.idealised.prompts import prompts_of
from experiments.real_data.normal_world import OVERRATED_BY, POINTS, NormalWorld, Sums, both_above
from experiments.real_data.predicted import KLS, Coordinates, all_good_rates

heights = st.floats(-4, 4)


@given(heights, heights, st.floats(-0.95, 0.95))
def test_both_above_is_the_bivariate_normal_probability(first: float, second: float, correlation: float) -> None:
    found = both_above(np.array(first), np.array(second), correlation)
    expected = multivariate_normal([0, 0], [[1, correlation], [correlation, 1]]).cdf([-first, -second])
    assert found == pytest.approx(expected, abs=1e-7)


def test_both_above_zero_is_a_quarter_plus_the_angle() -> None:
    # P(Z1 > 0, Z2 > 0) = 1/4 + asin(c) / (2 pi); for c = 1/2 a third.
    assert both_above(np.array(0.0), np.array(0.0), 0.5) == pytest.approx(1 / 3, abs=1e-12)


@pytest.mark.parametrize(
    ("correlation", "mixed"),
    [(-0.34, 0.0), pytest.param(-0.34, 0.4, marks=pytest.mark.slow), pytest.param(0.3, 0.4, marks=pytest.mark.slow)],
)
def test_rates_are_those_of_the_map_where_errors_are_independent(correlation: float, mixed: float) -> None:
    accuracy, spread = 0.7, 2.0
    cell = Cell(
        spread=spread * accuracy,  # of gold, where ours is of the reward
        errors=Errors("normal", math.sqrt(1 / accuracy**2 - 1)),
        correlation=correlation,
        mixed=mixed,
    )
    world = World(cell, prompts_of(cell))
    ours = all_good_rates(
        Coordinates(spread, accuracy, correlation, mixed=mixed, error_correlation=0.0), (RAW, LSC), bar=MAIN_BAR
    )
    for objective in (RAW, LSC):
        family = world.family(objective, None)
        optima = [family.at(inverse_gamma) for inverse_gamma in at_mean_kl(family, KLS)]
        rates = [optimum.all_good[:, BARS.index(MAIN_BAR)].mean() for optimum in optima]
        assert ours[objective] == pytest.approx(rates, abs=5e-4)


def test_overrating_moves_a_share_of_each_reward_up_and_leaves_gold() -> None:
    plain, rare = NormalWorld(0.8, -0.3, -0.3), NormalWorld(0.8, -0.3, -0.3, overrated=0.01)
    mean = sum(OVERRATED_BY) / 2
    assert rare.masses.sum() == pytest.approx(1, abs=1e-6)
    assert rare.marginal @ POINTS == pytest.approx(0.01 * 0.8 * mean, abs=1e-4)
    assert rare.good.sum((1, 2)) == pytest.approx(plain.good.sum((1, 2)), abs=1e-6)


def test_before_any_tilt_nothing_is_learned_and_kl_is_zero() -> None:
    world = NormalWorld(0.5, 0.2, -0.4)
    utilities = np.stack([POINTS, POINTS])[None]
    optimum = Sums(world, utilities).at(np.zeros(1))
    assert optimum.kl[0] == pytest.approx(0, abs=1e-9)
    gold = multivariate_normal([0, 0], [[1, 0.2], [0.2, 1]]).cdf([-1.0364333894937898] * 2)
    assert optimum.all_good[0, BARS.index(MAIN_BAR)] == pytest.approx(gold, abs=1e-5)


def test_correlation_of_rewards_mixes_that_of_gold_and_of_errors() -> None:
    # 0.6^2 x 0.5 + 0.8^2 x -0.25 = 0.18 - 0.16
    assert NormalWorld(0.6, 0.5, -0.25).reward_correlation == pytest.approx(0.02)
