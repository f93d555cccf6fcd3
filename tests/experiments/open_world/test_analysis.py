"""Differences at matched KL, as they were preregistered."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from experiments.open_world.analysis import (
    Curve,
    all_good,
    best_raw,
    curve_of,
    flat_seeds,
    holm,
    level_at,
    lsc_minus,
    predicted_difference,
)
from experiments.open_world.design import CAPPED, LSC, RAW, PlannedArm
from experiments.open_world.stored import Seed, Stored
from tests.experiments.open_world.made_up import predictions, store_arms, trained


def seeds_in(folder: Path, ahead: list[float], *, reach: float = 1.1) -> list[Seed]:
    """As many seeds as there are leads of the LSC sum."""
    stored = Stored(folder)
    for seed, lead in enumerate(ahead):
        stored.write(stored.predictions("strong", seed), predictions("strong", seed))
        store_arms(stored, "strong", seed, ahead=lead, reach=reach)
    return stored.seeds("strong")


def test_a_curve_is_interpolated_prompt_by_prompt() -> None:
    curve = Curve(np.array([0.0, 2.0, 4.0]), np.array([[0.0, 0.1], [0.4, 0.5], [0.6, 0.9]]))
    assert curve.at(1.0).tolist() == pytest.approx([0.2, 0.3])
    assert curve.at(3.0).tolist() == pytest.approx([0.5, 0.7])
    assert curve.at(4.0).tolist() == pytest.approx([0.6, 0.9])
    assert curve.end == 4.0


def test_a_contrast_pairs_seeds_at_the_target_and_tests_them_with_t(tmp_path: Path) -> None:
    found = lsc_minus(seeds_in(tmp_path, [0.05, 0.15, 0.1]), lambda seed: RAW, 2.0)
    # between SFT and the arm at 1.1 nats no point of LSC lies below; from there on its lead is constant
    assert [one.over_prompts.value for one in found.seeds] == pytest.approx([0.05, 0.15, 0.1])
    assert {one.kl for one in found.seeds} == {2.0}
    assert found.over_seeds is not None
    assert found.over_seeds.mean == found.mean == pytest.approx(0.1)
    assert found.p_value == pytest.approx(float(scipy.stats.ttest_1samp([0.05, 0.15, 0.1], 0.0).pvalue))


def test_one_seed_has_an_interval_over_prompts_and_none_over_seeds(tmp_path: Path) -> None:
    found = lsc_minus(seeds_in(tmp_path, [0.05]), best_raw(4.0), 4.0)
    assert (found.over_seeds, found.p_value, found.left_out) == (None, None, 0)
    assert found.seeds[0].over_prompts.low == pytest.approx(0.05)  # the lead is the same on every prompt
    assert found.mean == pytest.approx(0.05)


def test_curves_that_end_a_little_early_are_compared_there_and_shorter_ones_are_left_out(tmp_path: Path) -> None:
    short = lsc_minus(seeds_in(tmp_path / "near", [0.05, 0.1], reach=0.9), lambda seed: RAW, 4.0)
    assert [one.kl for one in short.seeds] == pytest.approx([3.6, 3.6])
    shorter = lsc_minus(seeds_in(tmp_path / "far", [0.05, 0.1], reach=0.7), lambda seed: RAW, 4.0)
    assert (shorter.seeds, shorter.left_out, shorter.mean) == ((), 2, None)


def test_a_seed_without_the_arm_at_the_target_is_not_in_the_contrast(tmp_path: Path) -> None:
    stored = Stored(tmp_path)
    (seed,) = seeds_in(tmp_path, [0.05])
    stored.arm("strong", 0, PlannedArm(RAW, 4.0).name).unlink()
    (seed,) = stored.seeds("strong")
    assert lsc_minus([seed], lambda seed: RAW, 4.0).seeds == ()
    assert lsc_minus([seed], lambda seed: RAW, 4.0).left_out == 0
    assert level_at(seed, RAW, 4.0, all_good) is None
    assert level_at(seed, RAW, 2.0, all_good) == pytest.approx(0.2)
    assert curve_of(seed, "no such objective") is None


def test_the_rival_is_the_one_that_each_seed_chose_beforehand(tmp_path: Path) -> None:
    stored = Stored(tmp_path)
    for seed, rival in enumerate((RAW, CAPPED)):
        stored.write(stored.predictions("strong", seed), predictions("strong", seed, rival=rival))
        store_arms(stored, "strong", seed, ahead=0.1 + 0.1 * seed)
    found = lsc_minus(stored.seeds("strong"), best_raw(2.0), 2.0)
    assert [one.second for one in found.seeds] == [RAW, CAPPED]


def test_only_seeds_whose_two_runs_were_flat_are_flat(tmp_path: Path) -> None:
    seeds_in(tmp_path, [0.1, 0.1])
    stored, arm = Stored(tmp_path), PlannedArm(LSC, 4.0)
    stored.write(stored.arm("strong", 1, arm.name), trained(arm, 4.4, 0.5, change=0.06))
    assert [seed.seed for seed in flat_seeds(stored.seeds("strong"), best_raw(4.0), 4.0)] == [0]


def test_predicted_differences_are_those_of_the_tilts(tmp_path: Path) -> None:
    seeds = seeds_in(tmp_path, [0.0, 0.0])
    assert predicted_difference(seeds, best_raw(2.0), 2.0).mean == pytest.approx(0.1)
    assert predicted_difference(seeds, lambda seed: RAW, 8.0).seeds == ()  # beyond what samples show


def test_holm_by_hand() -> None:
    # sorted .01 .02 .04: 3 x .01, 2 x .02, 1 x .04, each at least the one before
    assert holm([0.04, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_keeps_the_order_and_lies_between_the_p_value_and_bonferroni(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    for value, found in zip(p_values, adjusted, strict=True):
        assert value <= found <= min(1.0, len(p_values) * value) + 1e-12
    order = np.argsort(p_values, kind="stable")
    assert (np.diff(np.array(adjusted)[order]) >= 0).all()
