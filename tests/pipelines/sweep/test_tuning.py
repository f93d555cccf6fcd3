"""Optuna's part of a sweep, and what Tune's errors become, without running a trial."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ray import tune
from ray.exceptions import OutOfMemoryError

from allgood.errors import RoleError
from pipelines.sweep.tuning import explained, searcher
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


def test_a_trial_that_ray_ended_for_want_of_memory_ends_the_sweep_with_a_sentence(tmp_path: Path) -> None:
    killed = OutOfMemoryError("1 worker(s) were killed due to the node running low on memory")
    said = "ran out of memory, and with it the sweep; continue with --resume"
    with pytest.raises(RoleError, match=said), explained(tmp_path):
        raise RuntimeError(f"Caught unexpected exception: {killed}") from killed  # as Tune 2.60 does
    with pytest.raises(RuntimeError, match="a defect"), explained(tmp_path):
        raise RuntimeError("a defect")
