"""Optuna's part of a sweep, without running a trial."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ray import tune

from pipelines.sweep.tuning import searcher
from tests.pipelines.sweep.tiny_sweep import tiny_sweep


def proposed(earlier: list[dict[str, Any]], number: int) -> list[dict[str, Any]]:
    space = {"kl.coefficient": {"kind": "log_uniform", "low": 0.05, "high": 2.0}}
    sweep = tiny_sweep(Path("runs"), "optuna", space=space, search={"kind": "optuna", "trials": 6, "seed": 1})
    found = searcher(sweep, earlier)
    found.set_search_properties(None, None, {"choice": {"kl.coefficient": tune.loguniform(0.05, 2.0)}})
    return [found.suggest(f"trial_{index}")["choice"] for index in range(number)]


def test_a_search_that_stopped_half_way_goes_on_with_new_points() -> None:
    earlier = proposed([], 3)
    resumed = proposed(earlier, 6)
    assert resumed[:3] == earlier
    numbers = [choice["kl.coefficient"] for choice in resumed]
    assert len(set(numbers)) == 6


def test_the_same_search_proposes_the_same_points() -> None:
    assert proposed([], 3) == proposed([], 3)
