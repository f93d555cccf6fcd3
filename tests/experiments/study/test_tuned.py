"""Tuned weights: told seed by seed, and an arm that is the raw sum's own counts once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from experiments.study.tuned import distinct_arms, stored_weights, weights_in_words
from pipelines.comparison.arms import lsc_sum, raw_sum
from tests.pipelines.tiny_run import tiny_config


def result(seed: int, weights: dict[str, float]) -> dict[str, Any]:
    arms = [
        {"objective": "raw_sum", "target_kl": 0.5, "weights": {}},
        {"objective": "raw_sum_tuned", "target_kl": 0.5, "weights": weights},
    ]
    return {"seed": seed, "arms": arms}


RESULTS = [result(1, {}), result(0, {"helpful": 2.0, "harmless": 0.5})]


def test_a_tuned_arm_of_weights_one_is_the_raw_sum_again() -> None:
    assert [arm["objective"] for arm in distinct_arms(RESULTS)] == ["raw_sum", "raw_sum", "raw_sum_tuned"]


def test_ratios_are_told_in_order_of_seed() -> None:
    assert "helpful over harmless, seed by seed: KL 0.5: 4, 1. Where" in weights_in_words(RESULTS)
    assert weights_in_words([{"seed": 0, "arms": RESULTS[0]["arms"][:1]}]) == ""


def test_only_unequal_weights_are_stored(tmp_path: Path) -> None:
    config = tiny_config(tmp_path)
    unequal = {"short": 2.0, "vowels": 0.5}
    assert stored_weights(raw_sum(config, weights=unequal)) == unequal
    assert stored_weights(raw_sum(config, weights={"short": 1.0, "vowels": 1.0})) == {}
    assert stored_weights(lsc_sum(config)) == {}
