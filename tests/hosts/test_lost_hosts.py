"""A host of a real Ray cluster goes: its work goes on elsewhere to the same bits, or the run can be resumed.

Hosts are namespaces of this machine (`network.py`), so this needs its administrator.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from tests.hosts.network import why_not
from tests.hosts.ray_hosts import RayHosts
from tests.hosts.runs import HEAD, LIMIT_S, Runs, host_of
from tests.pipelines.tiny_run import assert_same_run, make_base

pytestmark = [pytest.mark.faults, pytest.mark.skipif(why_not() is not None, reason=str(why_not()))]

PLACES = ("left", "right")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    folder = tmp_path_factory.mktemp("hosts")
    make_base(folder)
    return Runs(folder, rollout=PLACES, learner=(HEAD,), num_steps=8)


@pytest.fixture(scope="module")
def hosts(runs: Runs) -> Iterator[RayHosts]:
    with RayHosts(runs.folder, PLACES) as hosts:
        yield hosts


def test_a_lost_host_is_replaced_to_the_same_bits_and_without_another_the_run_can_be_resumed(
    hosts: RayHosts, runs: Runs, record_property: Callable[[str, object], None]
) -> None:
    driver = runs.drive(hosts, "whole", "moved", "stopped")

    runs.wait_for_step(driver, "moved", 3)
    place = host_of(hosts, driver, "rollout", PLACES)
    first, second = hosts[place], hosts[PLACES[place == PLACES[0]]]
    first.kill()
    runs.wait_for_step(driver, "stopped", 3)
    assert f"the cluster has lost {first.address} with rollout 0: rollout 0 goes to {second.address}" in driver.said()
    assert_same_run(runs.config("moved"), runs.config("whole"))
    assert runs.num_restarts("moved") == 1
    record_property("recovery_s", json.dumps([fault["recovery_s"] for fault in runs.faults("moved")]))

    second.kill()
    assert driver.process.wait(LIMIT_S) == 1
    said = driver.said()
    assert f"Error: the cluster has lost {second.address} with rollout 0, and has no place left for what ran" in said
    assert f"`allgood resume {runs.config('stopped').folder}` continues from it" in said
    assert "Traceback" not in said
    assert runs.num_finished("stopped") < runs.num_steps

    hosts.add("left")
    assert runs.drive(hosts, "stopped").process.wait(LIMIT_S) == 0
    assert_same_run(runs.config("stopped"), runs.config("whole"))
