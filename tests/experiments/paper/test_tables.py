"""Tables and verdicts from numbers whose differences are known."""

from __future__ import annotations

import pytest

from experiments.paper.stored import matched_gains, reliable_up_to
from experiments.paper.tables import (
    Compared,
    best_of_k_difference,
    coefficient_verdict,
    convergence,
    tilted_difference,
    tilted_table,
    trained_difference,
    trained_table,
    verdict,
    verdict_without_claim,
)
from experiments.study.analysis import Difference
from tests.experiments.paper.test_page import result

RESULTS = [result(seed, ["LSC", "raw"]) for seed in range(3)]


def difference(mean: float, half: float) -> Difference:
    return Difference(mean, mean - half, mean + half, half, 5)


COMPARED = [
    Compared("a", difference(0.3, 0.1)),
    Compared("b", difference(-0.3, 0.1)),
    Compared("c", difference(0.1, 0.2)),
    Compared("d", difference(-0.2, 0.1), sign=-1),
    Compared("e", None),
]


def test_a_verdict_names_where_the_claim_does_not_hold_and_what_stays_open() -> None:
    found = verdict(COMPARED)
    assert "in 2 of 4 comparisons" in found  # a as claimed, d as claimed: below 0
    assert "*It does not hold*: the sign is the opposite for b (-0.300)." in found
    assert "1 cannot be told apart from 0." in found
    assert "1 comparisons have fewer than two seeds" in found


def test_a_verdict_without_a_claim_names_both_sides() -> None:
    assert "1 of 3 comparisons above base (a (+0.300)), and 1 below it (b (-0.300))" in verdict_without_claim(
        COMPARED[:3], "base"
    )


def test_predictions_and_best_of_k_are_paired_by_seed() -> None:
    for found in (
        tilted_difference(RESULTS, "LSC", "raw", 0.75),
        best_of_k_difference(RESULTS, "LSC", "raw", 4),
    ):
        assert found is not None
        assert (found.mean, found.high - found.low) == (pytest.approx(0.01), pytest.approx(0.0, abs=1e-9))


def test_trained_arms_are_compared_at_the_target_kl_whatever_they_spent() -> None:
    results = [result(seed, ["LSC", "raw"], targets=(1.0,)) for seed in range(3)]
    for found in results:
        found["arms"][1]["kl"] = 1.2  # the tilt gains 0.2 per nat here, so that 0.04 of the 0.05 come from KL
    difference = trained_difference(results, "raw", "LSC")
    assert difference is not None
    assert difference.mean == pytest.approx(0.05 - 0.04)
    results[0]["arms"][1]["kl"] = 9.0  # beyond what the tilt shows
    difference = trained_difference(results, "raw", "LSC")
    assert difference is not None
    assert difference.num_seeds == 2


def test_a_trained_arm_that_was_moved_along_an_unsupported_tilt_is_marked() -> None:
    results = [result(seed, ["LSC", "raw"], targets=(1.0,)) for seed in range(3)]
    assert not any("!" in row for row in trained_table(results, "LSC", {}))
    results[0]["arms"][1]["kl"] = 1.2  # beyond the 1 nat that the samples support
    assert [row.split(" | ")[0] for row in trained_table(results, "LSC", {}) if "!" in row] == ["| raw"]


def test_samples_support_predictions_up_to_the_last_reliable_point() -> None:
    results = [result(seed, ["LSC", "raw"]) for seed in range(3)]
    assert reliable_up_to(results, "LSC") == [1.0, 1.0, 1.0]
    for point in results[1]["tilted"]["raw"]["tilting"]:
        point["reliable"] = point["kl"] <= 0.5
    row = next(row for row in tilted_table(results, "LSC") if row.startswith("| raw |"))
    cells = row.split(" | ")
    assert "!" not in cells[1]
    assert cells[3].endswith(" !")


def test_arms_that_still_move_are_counted() -> None:
    # of each seed the second objective's utility changes by 6 %, at three targets
    assert any(line.startswith("9 of 18 arms are flat") for line in convergence(RESULTS, {"LSC": "", "raw": ""}))


def test_gammas_are_told_apart_from_kl() -> None:
    found = coefficient_verdict(RESULTS, {"LSC": "LSC", "raw": "raw"})
    assert "falls in 12 of 12 steps" in found  # 3 seeds x 2 objectives x 2 steps
    assert "factor of 2.0" in found


def test_gains_are_interpolated_to_the_matched_kl_and_absent_beyond_every_arm() -> None:
    gains = matched_gains(RESULTS, "raw", "helpful", 0.7)
    assert gains is not None
    assert gains[0] == pytest.approx(-1.0)
    assert gains[-1] == pytest.approx(2.0)
    assert matched_gains(RESULTS, "raw", "helpful", 2.5) is None
