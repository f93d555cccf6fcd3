"""The Ray session of a command, in a process of its own (this one may have Ray running already)."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import ray

from allgood.errors import PlacementError
from pipelines.run.session import ray_session

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


def test_a_start_of_ray_that_times_out_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def times_out(**arguments: object) -> None:
        raise Exception("The current node timed out during startup. This could happen because ...\nmore")

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", times_out)
    message = r"Ray does not start on this machine \(The current node timed out"
    with pytest.raises(PlacementError, match=message), ray_session():
        pass
