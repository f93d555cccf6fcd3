"""Spreads, correlations and their intervals, on scores whose coordinates are known."""

from __future__ import annotations

import numpy as np
import pytest

from experiments.real_data.coordinates import (
    Spreads,
    correlation,
    interval,
    partial_correlation,
    reach,
    share_of_authors,
    shared_variance,
    sigma_between_prompts,
    sigma_by_property,
)

PROMPTS, ANSWERS = 300, 28
EVERY = np.arange(PROMPTS)


def scores(sigma: float, *, seed: int = 0, typical: float = 1.0, shared: np.ndarray | None = None) -> np.ndarray:
    random = np.random.default_rng(seed)
    logs = sigma * random.normal(size=PROMPTS) + (0 if shared is None else shared)
    grid = typical * np.exp(logs)[:, None] * random.normal(size=(PROMPTS, ANSWERS))
    grid[random.random(grid.shape) < 0.1] = np.nan  # prompts have different numbers of answers
    return grid


def test_spreads_that_do_not_differ_have_no_sigma_although_measured_ones_do() -> None:
    spreads = Spreads.of(scores(0.0), seed=0)
    assert spreads.sigma(EVERY) < 0.06
    assert spreads.uncorrected_ratio(EVERY) > 1.3


def test_sigma_and_typical_spread_are_found() -> None:
    spreads = Spreads.of(scores(0.4, typical=0.6), seed=0)
    assert spreads.sigma(EVERY) == pytest.approx(0.4, abs=0.04)
    assert spreads.typical(EVERY) == pytest.approx(0.6, rel=0.07)
    assert spreads.ratio(EVERY) == pytest.approx(np.exp(2.563 * spreads.sigma(EVERY)), rel=1e-3)


def test_what_spreads_share_and_what_is_a_propertys_own_are_told_apart() -> None:
    shared = 0.4 * np.random.default_rng(9).normal(size=PROMPTS)
    first, second = (Spreads.of(scores(0.25, seed=seed, shared=shared), seed=0) for seed in (1, 2))
    assert sigma_between_prompts(first, second, EVERY) == pytest.approx(0.4, abs=0.05)
    assert sigma_by_property(first, second, EVERY) == pytest.approx(0.25, abs=0.05)
    assert shared_variance(first, second, EVERY) == pytest.approx(shared_variance(second, first, EVERY), abs=0.02)


def test_a_prompt_without_spread_counts_in_the_median_only() -> None:
    grid = np.array([[1.0, 2.0, 3.0, 4.0], [0.0, 2.0, 4.0, 6.0], [5.0, 5.0, 5.0, 5.0]])
    spreads = Spreads.of(grid, seed=0)
    assert np.isnan(spreads.log_spread[2])
    assert np.isfinite(spreads.typical(np.arange(3)))
    # Half as wide: 1, 2, 3, 4 has standard deviation sqrt(5/3), and the bias of four answers is a constant.
    assert spreads.median(np.arange(3)) == pytest.approx(0.5 * spreads.median(np.array([1])))


def test_partial_correlation_takes_out_what_both_owe_to_a_third() -> None:
    random = np.random.default_rng(0)
    third = random.normal(size=(PROMPTS, ANSWERS))
    first, second = (third + random.normal(size=third.shape) for _ in range(2))
    assert correlation(first, second)(EVERY) == pytest.approx(0.5, abs=0.03)
    assert partial_correlation(first, second, third)(EVERY) == pytest.approx(0.0, abs=0.03)


def test_reach_by_hand() -> None:
    # 0, 1, 2, 3, 10: the 75 % quantile is 3 and the standard deviation sqrt(62.8 / 4) = 3.962.
    assert reach(np.array([[0.0, 1.0, 2.0, 3.0, 10.0]]), 0.75)(np.array([0])) == pytest.approx(7 / 3.9623, rel=1e-3)


def test_authors_explain_what_their_means_do_and_nothing_else() -> None:
    authors = np.tile(np.arange(4), (PROMPTS, 1))
    level = np.array([0.0, 1.0, 2.0, 3.0])
    pure = np.tile(level, (PROMPTS, 1)) + np.arange(PROMPTS)[:, None]
    assert share_of_authors(pure, authors)(EVERY) == pytest.approx(1)
    noise = np.random.default_rng(0).normal(size=pure.shape)
    assert share_of_authors(noise, authors)(EVERY) < 0.02


@pytest.mark.slow
def test_an_interval_covers_the_truth_at_about_its_level() -> None:
    covered = 0
    for seed in range(40):
        random = np.random.default_rng(seed)
        first = random.normal(size=(60, 8))
        second = 0.6 * first + 0.8 * random.normal(size=first.shape)
        found = interval(correlation(first, second), 60, seed=seed)
        covered += found["low"] < 0.6 < found["high"]
    assert covered >= 34  # of 40 at 95 %
