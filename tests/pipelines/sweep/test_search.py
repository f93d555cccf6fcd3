"""Early stopping and Optuna in whole sweeps: what ends early is marked so, and a resume asks for the same points."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipelines.config.sweep import SweepConfig
from pipelines.sweep.run import run_sweep
from tests.pipelines.sweep.tiny_sweep import tiny_base, tiny_sweep
from tests.pipelines.tiny_run import make_base

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray_cluster")]


def trials(sweep: SweepConfig, name: str) -> dict[str, Any]:
    paths = (sweep.folder / "trials").glob(f"*/{name}")
    return {path.parent.name: json.loads(path.read_text(encoding="utf-8")) for path in paths}


def test_weak_trials_end_early_and_stay_ended(tmp_path: Path) -> None:
    make_base(tmp_path)
    space = {"kl.coefficient": {"kind": "values", "values": [0.01, 0.1, 1.0, 10.0]}}
    stopping = {"kind": "asha", "grace_steps": 2, "reduction_factor": 2}
    sweep = tiny_sweep(
        tmp_path,
        "asha",
        space=space,
        kl_budget=5.0,
        max_concurrent=1,  # one after another: each trial after the first can be compared with those before
        mode={"kind": "single_objective", "early_stopping": stopping},
    )
    summary = run_sweep(sweep, tiny_base(tmp_path), source_name="tiny.yaml")
    assert sum(summary["trials"].values()) == 4
    pruned = trials(sweep, "pruned.json")
    assert all(entry["step"] < 6 and 0.0 <= entry["win_rate"] <= 1.0 for entry in pruned.values())
    assert not set(pruned) & set(trials(sweep, "result.json"))
    again = run_sweep(sweep, tiny_base(tmp_path), source_name="tiny.yaml", resume=True)
    assert again == summary


def test_optuna_stays_in_its_range_and_a_resume_repeats_no_point(tmp_path: Path) -> None:
    make_base(tmp_path)
    space = {"kl.coefficient": {"kind": "log_uniform", "low": 0.05, "high": 2.0}}
    sweep = tiny_sweep(tmp_path, "optuna", space=space, search={"kind": "optuna", "trials": 3, "seed": 1})
    summary = run_sweep(sweep, tiny_base(tmp_path), source_name="tiny.yaml")
    points = trials(sweep, "result.json")
    assert summary["trials"] == {"finished": 3}
    assert all(0.05 <= entry["changes"]["kl.coefficient"] <= 2.0 for entry in points.values())
    run_sweep(sweep, tiny_base(tmp_path), source_name="tiny.yaml", resume=True)
    assert trials(sweep, "result.json") == points
