"""The host of a scorer that the trials of a sweep share goes: it goes elsewhere, or the sweep stops and is resumed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from actors.cluster.cast import spawn
from pipelines.cast.request import align_request
from pipelines.output.metrics_log import MetricsLog
from tests.faults.test_sweep_resume import assert_same_as_alone
from tests.hosts.network import why_not
from tests.hosts.ray_hosts import Driver, RayHosts
from tests.hosts.runs import LIMIT_S, host_of
from tests.hosts.sweep_driver import NUM_STEPS, PLACES, sweep_of
from tests.pipelines.sweep.tiny_sweep import tiny_base
from tests.pipelines.tiny_run import make_base

pytestmark = [pytest.mark.slow, pytest.mark.skipif(why_not() is not None, reason=str(why_not()))]

SCORER = "reward.short"


def steps_of_trials(folder: Path) -> list[int]:
    return [len(MetricsLog(path).read()) for path in sweep_of(folder).folder.glob("trials/*/metrics.jsonl")]


def wait_for_steps(driver: Driver, folder: Path, num_steps: int) -> None:
    """Wait until both trials have made so many steps."""
    driver.wait_for(lambda: len(done := steps_of_trials(folder)) == 2 and min(done) >= num_steps, LIMIT_S)


def test_a_shared_scorer_goes_to_another_host_and_without_one_the_sweep_is_resumed(
    tmp_path: Path, request: pytest.FixtureRequest, record_property: Callable[[str, object], None]
) -> None:
    make_base(tmp_path)
    with RayHosts(tmp_path, PLACES) as hosts:
        driver = hosts.drive("tests.hosts.sweep_driver", str(tmp_path))
        wait_for_steps(driver, tmp_path, 3)
        place = host_of(hosts, driver, SCORER, PLACES)
        first, second = hosts[place], hosts[PLACES[place == PLACES[0]]]
        first.kill()
        moved = f"the cluster has lost {first.address} with {SCORER} 0: {SCORER} 0 goes to {second.address}"
        driver.wait_for(lambda: moved in driver.said(), LIMIT_S)
        num_steps = sum(steps_of_trials(tmp_path))
        driver.wait_for(lambda: sum(steps_of_trials(tmp_path)) >= num_steps + 3, LIMIT_S)

        second.kill()
        assert driver.process.wait(LIMIT_S) == 1
        said = driver.said()
        assert (
            f"Error: the cluster has lost {second.address} with {SCORER} 0, and has no place left for what ran" in said
        )
        assert "the same command with --resume continues it" in said
        assert "Traceback" not in said
        assert not re.search(r"^\[\d/2\] \S+ failed", said, flags=re.MULTILINE)
        assert sum(steps_of_trials(tmp_path)) < 2 * NUM_STEPS

        hosts.add("left")
        resumed = hosts.drive("tests.hosts.sweep_driver", str(tmp_path))
        assert resumed.process.wait(LIMIT_S) == 0, resumed.said()[-3000:]
    sweep = sweep_of(tmp_path)
    assert json.loads((sweep.folder / "summary.json").read_text())["trials"] == {"finished": 2}
    trials = sorted((sweep.folder / "trials").iterdir())
    faults = [row for trial in trials for row in MetricsLog(trial / "faults.jsonl").read()]
    assert {row["role"] for row in faults} <= {SCORER}  # Tune may have put a trial's own process on the host that goes
    record_property("recovery_s", json.dumps([row["recovery_s"] for row in faults]))
    request.getfixturevalue("ray_cluster")
    here = tiny_base(tmp_path, threads=1)
    with spawn(align_request(here)) as cast:
        for trial in trials:
            changes = {"properties": here.properties, "placement": here.placement}
            assert_same_as_alone(trial, tmp_path / trial.name, cast, **changes)
