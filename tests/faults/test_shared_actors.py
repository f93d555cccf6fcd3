"""Scoring actors that several alignments share: their death fails none of them, and changes no bit."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import ray

from actors.cluster.cast import Cast
from pipelines.comparison.arms import Arm, arm_of, kept_actors, run_arms
from pipelines.evaluation.samples import test_prompts as prompts_of_test
from pipelines.output.metrics_log import MetricsLog
from pipelines.references.build import build_references
from pipelines.sweep.run import run_sweep
from tests.faults.test_sweep_resume import assert_same_as_alone
from tests.pipelines.sweep.tiny_sweep import tiny_base, tiny_sweep
from tests.pipelines.tiny_run import assert_same_run, make_base

pytestmark = pytest.mark.slow

LIMIT_S = 240.0


def killer(moment: Callable[[], bool], victims: Callable[[], Sequence[int]]) -> tuple[threading.Thread, list[int]]:
    """A thread that kills as soon as `moment` says so, and whom it has killed."""
    killed: list[int] = []

    def wait_and_kill() -> None:
        deadline = time.monotonic() + LIMIT_S
        while not moment() and time.monotonic() < deadline:
            time.sleep(0.02)
        for pid in victims():
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)

    thread = threading.Thread(target=wait_and_kill, daemon=True)
    thread.start()
    return thread, killed


def test_arms_side_by_side_survive_the_death_of_the_scorers_they_share(tmp_path: Path, ray_cluster: None) -> None:
    config = make_base(tmp_path)

    def arms(name: str) -> list[Arm]:
        return [arm_of(config, name, coefficient) for coefficient in (0.1, 0.3)]

    with kept_actors(config, num_lanes=2) as lanes:
        build_references(config, lanes[0])
        run_arms(arms("whole"), lanes, prompts_of_test(config))
        logs = [MetricsLog(arm.config.folder / "metrics.jsonl") for arm in arms("killed")]
        thread, killed = killer(
            lambda: all(log.read() for log in logs),
            lambda: [int(lanes[0].place(role)["pid"]) for role in ("reward.short", "reference_policy")],
        )
        run_arms(arms("killed"), lanes, prompts_of_test(config))
        thread.join(LIMIT_S)
    assert len(killed) == 2
    for whole, other in zip(arms("whole"), arms("killed"), strict=True):
        assert_same_run(other.config, whole.config)
    faults = [row for arm in arms("killed") for row in MetricsLog(arm.config.folder / "faults.jsonl").read()]
    assert {row["role"] for row in faults if row["restarted"]} == {"reward.short", "reference_policy"}


def test_no_trial_of_a_sweep_fails_when_a_shared_scorer_dies(tmp_path: Path, tiny_cast: Cast) -> None:
    make_base(tmp_path)
    space = {"kl.coefficient": {"kind": "values", "values": [0.1, 0.3]}}
    sweep = tiny_sweep(tmp_path, "shared", space=space)
    base = tiny_base(tmp_path)
    base = base.model_copy(update={"align": base.align.model_copy(update={"steps": 12})})
    trials = sweep.folder / "trials"
    thread, killed = killer(
        lambda: len([path for path in trials.glob("*/metrics.jsonl") if MetricsLog(path).read()]) == 2,
        lambda: [pid_of_named(".reward.vowels.0")],
    )
    summary = run_sweep(sweep, base, source_name="shared.yaml")
    thread.join(LIMIT_S)
    assert len(killed) == 1
    assert summary["trials"] == {"finished": 2}
    faults = [row for path in trials.glob("*/faults.jsonl") for row in MetricsLog(path).read()]
    assert {row["role"] for row in faults} == {"reward.vowels"}
    for trial in trials.iterdir():
        assert_same_as_alone(trial, tmp_path / trial.name, tiny_cast)


def pid_of_named(end: str) -> int:
    """The process of the one named actor whose name ends so."""
    [entry] = [entry for entry in ray.util.list_named_actors(all_namespaces=True) if entry["name"].endswith(end)]
    actor = ray.get_actor(entry["name"], namespace=entry["namespace"])
    return int(ray.get(actor.location.remote(), timeout=60)["pid"])
