"""The Ray session of a command, in a process of its own (this one may have Ray running already)."""

from __future__ import annotations

import os
import subprocess
import sys

SCRIPT = """
import ray
from pipelines.run.session import ray_session
with ray_session():
    assert ray.cluster_resources()["CPU"] >= 16
    assert ray.get_runtime_context().namespace == "allgood"
    with ray_session():
        pass
    assert ray.is_initialized(), "the inner session stopped what it did not start"
assert not ray.is_initialized()
"""


def test_a_session_starts_a_private_ray_and_stops_only_what_it_started() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert done.stderr == ""


def test_an_address_where_nobody_listens_is_refused_at_once() -> None:
    command = [sys.executable, "-c", "from pipelines.run.session import ray_session\nwith ray_session(): pass"]
    environment = os.environ | {"RAY_ADDRESS": "127.0.0.1:1"}  # a port that nothing may listen on
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=60)
    assert "nothing answers at RAY_ADDRESS=127.0.0.1:1" in done.stderr
    assert "unset it to start Ray here" in done.stderr
