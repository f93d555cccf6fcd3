"""Links of a real Ray cluster of several hosts fail, and its head goes. `test_lost_hosts.py` has the quick part."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.hosts.network import why_not
from tests.hosts.ray_hosts import QUICK_DEATH, RayHosts
from tests.hosts.runs import HEAD, LIMIT_S, Runs
from tests.pipelines.tiny_run import assert_same_run, make_base

pytestmark = [pytest.mark.slow, pytest.mark.skipif(why_not() is not None, reason=str(why_not()))]

Record = Callable[[str, object], None]

BRIEF_S = 5.0
ROLLOUT, LEARNER, SPARE = "left", "right", "spare"
PLACES = {"rollout": (ROLLOUT, SPARE), "learner": (LEARNER, SPARE)}
PATIENCE_S = 30  # for how long Ray waits for the head; a minute, if nobody says otherwise
CUT_AT = (2, 4, 6)  # steps after which links are cut, of 12


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    folder = tmp_path_factory.mktemp("network")
    make_base(folder)
    return Runs(folder, **PLACES, num_steps=12)


@pytest.fixture(scope="module")
def hosts(runs: Runs) -> Iterator[RayHosts]:
    with RayHosts(runs.folder, (ROLLOUT, LEARNER)) as hosts:
        yield hosts


@pytest.fixture(scope="module")
def whole(runs: Runs, hosts: RayHosts) -> str:
    """The run that nothing disturbs."""
    assert runs.drive(hosts, "whole").process.wait(LIMIT_S) == 0
    return "whole"


def test_links_that_are_cut_for_5_s_cost_time_and_nothing_else(
    runs: Runs, hosts: RayHosts, whole: str, record_property: Record
) -> None:
    driver = runs.drive(hosts, "brief")
    waits = []
    for step, place in zip(CUT_AT, (ROLLOUT, LEARNER, HEAD), strict=True):
        runs.wait_for_step(driver, "brief", step)
        hosts.network.cut(hosts[place])
        cut_at, num_finished = time.monotonic(), runs.num_finished("brief")
        time.sleep(BRIEF_S)
        assert runs.num_finished("brief") <= num_finished + 1  # what was under way may have ended
        hosts.network.reconnect(hosts[place])
        runs.wait_for_step(driver, "brief", num_finished + 2)
        waits.append(round(time.monotonic() - cut_at, 3))
    assert driver.process.wait(LIMIT_S) == 0
    assert runs.faults("brief") == []
    assert_same_run(runs.config("brief"), runs.config(whole))
    record_property("recovery_s", json.dumps(waits))


def test_hosts_that_stay_cut_off_are_left_and_those_that_come_back_are_used_as_new_ones(
    runs: Runs, hosts: RayHosts, whole: str, record_property: Record
) -> None:
    driver = runs.drive(hosts, "far")
    runs.wait_for_step(driver, "far", CUT_AT[0])
    hosts.add(SPARE)

    def cut_until_moved(step: int, place: str, moves: str) -> None:
        runs.wait_for_step(driver, "far", step)
        hosts.network.cut(hosts[place])
        driver.wait_for(lambda: f"the cluster has lost {hosts[place].address} with {moves}" in driver.said(), LIMIT_S)
        hosts.network.reconnect(hosts[place])
        hosts.wait_until_ray_has_ended(place)
        hosts.rejoin(place)

    def to(place: str) -> str:
        return f"goes to {hosts[place].address}"

    cut_until_moved(CUT_AT[0], ROLLOUT, f"rollout 0: rollout 0 {to(SPARE)}")
    cut_until_moved(CUT_AT[1], LEARNER, f"learner 0: learner 0 {to(SPARE)}")
    # both at once, and with them the only copies of the last weights
    cut_until_moved(CUT_AT[2], SPARE, f"rollout 0, learner 0: rollout 0 {to(ROLLOUT)}, learner 0 {to(LEARNER)}")
    assert driver.process.wait(LIMIT_S) == 0, driver.said()[-3000:]
    assert_same_run(runs.config("far"), runs.config(whole))
    record_property("recovery_s", json.dumps([fault["recovery_s"] for fault in runs.faults("far")]))


def test_late_and_lost_packets_cost_time_and_nothing_else(runs: Runs, hosts: RayHosts) -> None:
    driver = runs.drive(hosts, "near", "slow")
    runs.wait_for_step(driver, "slow", CUT_AT[0])
    for place in (HEAD, ROLLOUT, LEARNER):
        hosts.network.impair(hosts[place], delay_s=0.025, loss=0.005)  # twice on the way from host to host
    assert driver.process.wait(LIMIT_S) == 0, driver.said()[-3000:]
    assert runs.faults("slow") == []
    assert_same_run(runs.config("slow"), runs.config("near"))
    assert runs.seconds("slow") > runs.seconds("near")


def test_after_the_loss_of_the_head_a_run_is_resumed_on_another_cluster(runs: Runs, tmp_path: Path) -> None:
    patience = {**QUICK_DEATH, "gcs_rpc_server_reconnect_timeout_s": PATIENCE_S}
    with RayHosts(_made(tmp_path / "lost"), (ROLLOUT, LEARNER), system_config=patience) as lost:
        driver = runs.drive(lost, "undisturbed", "headless", host=lost[ROLLOUT])
        runs.wait_for_step(driver, "headless", CUT_AT[1])
        lost.head.kill()
        killed_at = time.monotonic()
        assert driver.process.wait(LIMIT_S) == 2
        assert PATIENCE_S / 2 < time.monotonic() - killed_at < 2 * PATIENCE_S
        said, folder = driver.said(), runs.config("headless").folder
        assert f"the head of the Ray cluster at {lost.head.address}:6399 does not answer since" in said
        assert f"the last checkpoint of {folder} stands, and `allgood resume {folder}` continues from it" in said
        assert "Traceback" not in said
        assert runs.num_finished("headless") < runs.num_steps
    with RayHosts(_made(tmp_path / "new"), (ROLLOUT, LEARNER)) as new:
        assert runs.drive(new, "headless").process.wait(LIMIT_S) == 0
    assert_same_run(runs.config("headless"), runs.config("undisturbed"))


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder
