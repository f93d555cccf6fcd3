"""Which kills count, and what is said of prompt groups: worked by hand on small logs."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from experiments.chaos.account import Lineage, count_kills, lineage_of
from experiments.chaos.run import Ending
from pipelines.config.run import RunConfig
from pipelines.data.prepared import load_prepared
from pipelines.data.prompt_order import run_prompts, step_prompts
from pipelines.output.metrics_log import MetricsLog
from tests.pipelines.tiny_run import make_base


def kill(number: int, role: str, time: float, **others: Any) -> dict[str, Any]:
    row = {"kill": number, "role": role, "replica": 0, "when": "idle", "step": number, "alive": True, "time": time}
    return row | others


def fault(role: str, time: float, reason: str = "it died in generate") -> dict[str, Any]:
    return {"role": role, "replica": 0, "time": time, "reason": reason, "restarted": True}


def finished(step: int, time: float) -> dict[str, Any]:
    return {"finished": step, "time": time}


def test_a_kill_counts_if_it_was_seen_and_recovery_ends_with_the_next_step() -> None:
    events = [finished(1, 1.0), kill(0, "rollout", 1.5), finished(2, 9.0), finished(3, 9.5)]
    [counted] = count_kills(events, [fault("rollout", 6.0), fault("rollout", 7.0)], [Ending(0, 10.0)])
    assert (counted.why_not, counted.num_retries, counted.recovery_s) == (None, 2, 7.5)


def test_a_fault_belongs_to_the_last_kill_before_it() -> None:
    events = [kill(0, "rollout", 1.0), finished(2, 2.0), kill(1, "rollout", 3.0), finished(3, 4.0)]
    first, second = count_kills(events, [fault("rollout", 3.5)], [Ending(0, 5.0)])
    assert (first.why_not, second.why_not) == ("the driver did not see it die", None)


@pytest.mark.parametrize(
    ("row", "faults", "why_not"),
    [
        (kill(0, "learner", 1.0, alive=False), [fault("learner", 2.0)], "the victim was dead already"),
        (kill(0, "learner", 1.0), [fault("rollout", 2.0)], "the driver did not see it die"),
        (kill(0, "learner", 1.0), [fault("learner", 2.0, "hung in update")], "the driver did not see it die"),
        (kill(0, "learner", 1.0, when="busy"), [fault("learner", 2.0)], "nothing waited for it"),
        (kill(0, "learner", 1.0, when="busy", stood_s=2.0), [fault("learner", 2.0)], None),
    ],
)
def test_a_kill_that_nobody_saw_does_not_count(row: dict[str, Any], faults: list[Any], why_not: str | None) -> None:
    [counted] = count_kills([row, finished(2, 3.0)], faults, [Ending(0, 4.0)])
    assert counted.why_not == why_not


def test_a_killed_driver_counts_by_its_exit_status() -> None:
    events = [kill(0, "driver", 1.0), finished(2, 31.0), kill(1, "driver", 40.0), finished(3, 60.0)]
    counted = count_kills(events, [], [Ending(-signal.SIGKILL, 1.1), Ending(0, 70.0)])
    assert [(row.why_not, row.recovery_s) for row in counted] == [(None, 30.0), ("the driver ended otherwise", 20.0)]


@pytest.fixture
def logged(tmp_path: Path) -> RunConfig:
    """A run of six steps of four prompts, whose third group of step 2 was dropped."""
    config = make_base(tmp_path)
    prompts = run_prompts(config, load_prepared(config.base_folder / "data").prompts, "alignment")
    for step in range(6):
        ids = [item.id for item in step_prompts(prompts, seed=config.seed, step=step, prompts_per_step=4)]
        dropped = [ids.pop(2)] if step == 1 else []
        MetricsLog(config.folder / "groups.jsonl").append({"step": step + 1, "trained": ids, "dropped": dropped})
        MetricsLog(config.folder / "metrics.jsonl").append({"step": step + 1})
    return config


def test_a_whole_run_has_trained_or_dropped_every_group_once(logged: RunConfig) -> None:
    assert lineage_of(logged) == Lineage(num_steps=6, trained=23, dropped=1, missing=0, repeated=0)


def test_a_step_that_was_lost_and_one_that_was_logged_twice_are_seen(logged: RunConfig) -> None:
    log = MetricsLog(logged.folder / "groups.jsonl")
    rows = log.read()
    log.path.unlink()
    for row in [rows[0], rows[0], *rows[2:]]:  # step 1 twice, step 2 never
        log.append(row)
    assert lineage_of(logged) == Lineage(num_steps=6, trained=24, dropped=0, missing=4, repeated=4)
