"""A replica that dies under load costs no request and changes no number."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
import ray

from actors.cluster.placement import Resources
from pipelines.serve.run import serving
from pipelines.serve.settings import Limits, ScorerSettings, ServeSettings
from tests.pipelines.serve.conftest import TEA

pytestmark = pytest.mark.faults

NUM_REQUESTS, NUM_CLIENTS = 96, 8
RESPONSES = [f"Leaf {number}, " + "and water " * (number % 9) for number in range(NUM_REQUESTS)]


@pytest.fixture(scope="module")
def client(rewards: Path, ray_cluster: None) -> Iterator[httpx.Client]:
    """A service with two replicas of each scorer, and time enough for new ones on a busy machine.

    The rule takes half a second for whatever shares a pass, so that a death is in the middle of calls.
    """
    file = rewards.with_name("slow.yaml")
    file.write_text(
        """
properties:
  liked: {model: scorer, device: cpu, reference: {kind: constant, value: 0.0}}
  brief: {kind: function, function: "tests.pipelines.tiny_rewards:slow_short", reference: {kind: constant, value: 0.0}}
""",
        encoding="utf-8",
    )
    settings = ServeSettings(
        port=0,
        name="lossy",
        scorer=ScorerSettings(resources=Resources(replicas=2, cpus=0.0)),
        limits=Limits(deadline_s=200.0),
    )
    with serving(file, settings) as url, httpx.Client(base_url=url, timeout=240.0) as client:
        yield client


def replicas(prop: str) -> list[str]:
    """The names of the living replicas of a property's scorer."""
    actors = ray.util.list_named_actors(all_namespaces=True)
    return [actor["name"] for actor in actors if actor["name"].startswith(f"SERVE_REPLICA::allgood-{prop}-")]


def kill(name: str) -> None:
    ray.kill(ray.get_actor(name, namespace="serve"))


def rewards_of(client: httpx.Client, response: str) -> tuple[float, float]:
    answer = client.post("/v1/score", json={"rows": [{"prompt": TEA, "response": response}]})
    assert answer.status_code == 200, answer.text
    (row,) = answer.json()["rows"]
    return row["utility"], row["properties"]["liked"]["reward"]


def retries(client: httpx.Client) -> float:
    lines = client.get("/metrics").text.splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith("allgood_retries_total")))


def test_requests_under_load_survive_the_death_of_replicas(client: httpx.Client) -> None:
    with ThreadPoolExecutor(NUM_CLIENTS) as pool:
        expected = list(pool.map(lambda response: rewards_of(client, response), RESPONSES))
    answered = threading.Semaphore(0)

    def ask(response: str) -> tuple[float, float]:
        found = rewards_of(client, response)
        answered.release()
        return found

    with ThreadPoolExecutor(NUM_CLIENTS) as pool:
        asked = [pool.submit(ask, response) for response in RESPONSES]
        for prop in ("liked", "brief"):
            for _ in range(NUM_REQUESTS // 4):
                answered.acquire()
            kill(replicas(prop)[0])
        found = [each.result() for each in asked]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    assert retries(client) >= 1


def test_a_call_in_flight_is_asked_again_when_both_replicas_die(client: httpx.Client) -> None:
    expected = rewards_of(client, RESPONSES[1])
    before = retries(client)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(rewards_of, client, RESPONSES[1])
        time.sleep(0.25)
        for name in replicas("brief"):
            kill(name)
        assert asked.result() == pytest.approx(expected, rel=1e-5, abs=1e-5)
    assert retries(client) > before


def test_while_there_is_no_replica_requests_wait_for_new_ones(client: httpx.Client) -> None:
    expected = rewards_of(client, RESPONSES[0])
    for name in replicas("liked"):
        kill(name)
    assert rewards_of(client, RESPONSES[0]) == pytest.approx(expected, rel=1e-5, abs=1e-5)
