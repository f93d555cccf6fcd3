"""The first answer of an actor is awaited as long as the node lives on which it is to start."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
import ray
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group

from actors.cluster.placement import Assignment, Resources
from actors.cluster.seats import Seat
from actors.cluster.starting import first_answer
from actors.faults import ActorHungError
from allgood.errors import RoleError
from tests.actors.odd_roles import Odd

GONE = "0" * 56


@pytest.fixture
def group(ray_cluster: None) -> Iterator[PlacementGroup]:
    group = placement_group([{"CPU": 0.1}])
    yield group
    remove_placement_group(group)


def seat(group: PlacementGroup, node_id: str) -> Seat:
    return Seat(Assignment("rollout", 1, node_id, "10.0.0.9", frozenset(), Resources(), threads=1), group, 0)


@pytest.fixture
def pending(ray_cluster: None) -> Iterator[Any]:
    """An actor that Ray cannot start, which Ray itself never says."""
    actor = ray.remote(Odd).options(num_cpus=0, resources={"nowhere": 1}).remote()
    yield actor
    ray.kill(actor)


def test_an_actor_on_a_node_that_is_gone_is_not_waited_for(pending: Any, group: PlacementGroup) -> None:
    started = time.monotonic()
    with pytest.raises(RoleError, match=r"rollout 1 on 10\.0\.0\.9 could not start: its node was lost"):
        first_answer(pending.location.remote(), seat(group, GONE), timeout_s=300)
    assert time.monotonic() - started < 60


def test_on_a_living_node_the_wait_has_its_limit(pending: Any, group: PlacementGroup) -> None:
    here = seat(group, ray.get_runtime_context().get_node_id())
    with pytest.raises(ActorHungError, match=r"rollout 1 on 10\.0\.0\.9 hung in start"):
        first_answer(pending.location.remote(), here, timeout_s=0.3)
