"""Hosts of a real Ray cluster that share no disk: models and checkpoints go through a store, or a run is refused.

Hosts are namespaces of this machine (`network.py`), so this needs its administrator.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.hosts.network import Host, why_not
from tests.hosts.ray_hosts import RayHosts
from tests.hosts.runs import LIMIT_S, Runs
from tests.pipelines.tiny_run import assert_same_run, make_base

pytest.importorskip("moto.server", reason="the extra `dev`")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(why_not() is not None, reason=str(why_not()))]

FAR = "far"  # the place of the host with a disk of its own
STORE, PORT = "10.77.0.3", 5000  # the third host
ENVIRONMENT = {
    "AWS_ENDPOINT_URL": f"http://{STORE}:{PORT}",
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
    "ALLGOOD_CACHE": "/run/allgood",  # each host has its own
}
MAKE_BUCKET = """
import time, s3fs
for _ in range(200):
    try:
        s3fs.S3FileSystem().mkdir("runs")
        break
    except Exception:  # it does not answer yet
        time.sleep(0.2)
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    folder = tmp_path_factory.mktemp("disks")
    make_base(folder / "seen")
    return Runs(folder / "seen", rollout=(FAR,), learner=(FAR,), num_steps=6)


@pytest.fixture(scope="module")
def hosts(runs: Runs) -> Iterator[RayHosts]:
    logs = runs.folder.parent
    with RayHosts(logs, [FAR], environment=ENVIRONMENT) as hosts:
        run(hosts[FAR], ["mount", "-t", "tmpfs", "tmpfs", str(runs.folder)], logs)
        store = hosts.network.add_host()
        assert store.address == STORE
        with (logs / "store.log").open("w") as log:
            store.start([sys.executable, "-m", "moto.server", "-H", STORE, "-p", str(PORT)], log, {})
        run(store, [sys.executable, "-c", MAKE_BUCKET], logs)
        yield hosts


def run(host: Host, command: list[str], logs: Path) -> None:
    with (logs / "commands.log").open("a") as log:
        process: subprocess.Popen[bytes] = host.start(command, log, ENVIRONMENT)
        assert process.wait(LIMIT_S) == 0, (logs / "commands.log").read_text()[-3000:]


def test_a_model_that_a_node_does_not_see_is_named_with_the_role_and_the_node(hosts: RayHosts, runs: Runs) -> None:
    driver = runs.drive(hosts, "refused")
    assert driver.process.wait(LIMIT_S) == 1
    folder = runs.folder / "base" / "sft" / "best"
    assert f"0 on {hosts[FAR].address} does not see {folder}, which the driver has; put it on a disk" in driver.said()
    assert "Traceback" not in driver.said()


@pytest.mark.parametrize("num_learners", [1, 2], ids=["one learner", "two that hold a shard each"])
def test_a_run_whose_learners_see_no_disk_of_the_driver_goes_on_from_the_store_to_the_same_bits(
    hosts: RayHosts, runs: Runs, num_learners: int
) -> None:
    kept = replace(runs, storage="s3://runs/project", num_learners=num_learners)
    whole, killed = (kept.config(f"{name}-{num_learners}") for name in ("whole", "killed"))
    driver = kept.drive(hosts, whole.name, killed.name)
    kept.wait_for_step(driver, killed.name, 5)
    driver.kill()
    assert f"not see {killed.folder}: the learners' part of checkpoints goes through the store" in driver.said()
    assert f"learner {num_learners - 1} on {hosts[FAR].address} do" in driver.said()
    shutil.rmtree(killed.folder)
    shutil.rmtree(kept.folder / "base")  # the driver's disk is lost too

    second = hosts.drive("tests.hosts.resume_driver", f"{kept.storage}/{killed.name}")
    assert second.process.wait(LIMIT_S) == 0, second.said()
    assert "brought the checkpoint after step 4 here" in second.said()
    assert_same_run(killed, whole)
