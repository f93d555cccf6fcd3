"""Fronts and the ground they cover, by hand, against slow definitions, and at their limits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from allgood.pareto import hypervolume, pareto_front

POINTS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=12)


def split(points: list[tuple[int, int]]) -> tuple[list[float], list[float]]:
    return [gain / 6 for gain, _ in points], [float(cost) for _, cost in points]


def test_a_front_worked_by_hand() -> None:
    # (0.7 at 1) beats (0.6 at 1) and (0.7 at 2); (0.9 at 5) is dearer and better; (0.5 at 0) is free.
    gains, costs = [0.7, 0.6, 0.7, 0.9, 0.5], [1.0, 1.0, 2.0, 5.0, 0.0]
    assert pareto_front(gains, costs).tolist() == [True, False, False, True, True]


def test_an_area_worked_by_hand() -> None:
    # Corner (0.5, 4): 0.1 above one half from cost 1 to 3, then 0.3 from 3 to 4.
    assert hypervolume([0.6, 0.8], [1.0, 3.0], worst_gain=0.5, worst_cost=4.0) == pytest.approx(0.1 * 2 + 0.3 * 1)


def test_points_beyond_the_corner_cover_nothing() -> None:
    assert hypervolume([0.4, 0.9], [1.0, 5.0], worst_gain=0.5, worst_cost=4.0) == 0.0


def test_no_points_have_no_front_and_no_area() -> None:
    assert pareto_front([], []).tolist() == []
    assert hypervolume([], [], worst_gain=0.5, worst_cost=4.0) == 0.0


@given(POINTS)
def test_the_front_is_what_nobody_beats(points: list[tuple[int, int]]) -> None:
    on_front = pareto_front(*split(points))
    for (gain, cost), found in zip(points, on_front, strict=True):
        beaten = any((g >= gain and c <= cost) and (g > gain or c < cost) for g, c in points)
        assert found == (not beaten)


@given(POINTS)
def test_only_the_front_covers_ground(points: list[tuple[int, int]]) -> None:
    gains, costs = split(points)
    on_front = pareto_front(gains, costs)
    whole = hypervolume(gains, costs, worst_gain=0.0, worst_cost=7.0)
    front = hypervolume(
        [gain for gain, found in zip(gains, on_front, strict=True) if found],
        [cost for cost, found in zip(costs, on_front, strict=True) if found],
        worst_gain=0.0,
        worst_cost=7.0,
    )
    assert front == pytest.approx(whole)


@given(POINTS)
def test_the_area_is_what_a_fine_grid_counts(points: list[tuple[int, int]]) -> None:
    gains, costs = split(points)
    cells = [
        (level / 6, cost)
        for level in range(6)
        for cost in range(7)
        if any(gain > level / 6 + 1e-9 and c <= cost for gain, c in zip(gains, costs, strict=True))
    ]
    assert hypervolume(gains, costs, worst_gain=0.0, worst_cost=7.0) == pytest.approx(len(cells) / 6)


@pytest.mark.parametrize("bad", [([0.1, np.nan], [1.0, 2.0]), ([0.1], [1.0, 2.0]), ([0.1], [np.inf])])
def test_what_is_no_point_is_refused(bad: tuple[list[float], list[float]]) -> None:
    with pytest.raises(ValueError, match=r"finite|\[points\]"):
        pareto_front(*bad)
    with pytest.raises(ValueError, match=r"finite|\[points\]"):
        hypervolume(*bad, worst_gain=0.0, worst_cost=1.0)
