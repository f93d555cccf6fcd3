"""The search for places: GPUs that are shared, GPUs apart, uneven nodes, and sizes of real clusters."""

from __future__ import annotations

import time
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.cluster.placement import Node, Request
from actors.cluster.search import Place, rivals_of, search
from tests.actors.cluster.test_admit import node, request

FOUR = [node("n", gpus=(1.0,) * 4, cpus=100)]


def gpus_of(requests: list[Request], nodes: list[Node]) -> dict[str, list[tuple[int, int]]] | None:
    """By role, (node, GPU) of each replica."""
    found = search(requests, nodes)
    if found is None:
        return None
    return {
        each.role: [(place.node, gpu) for place in places for gpu in place.gpus]
        for each, places in zip(requests, found, strict=True)
    }


def test_each_replica_of_a_guest_is_on_a_gpu_of_its_host() -> None:
    requests = [
        request("reference_policy", replicas=2, gpus=0.5, shares_gpu_with="rollout"),
        request("rollout", replicas=3, gpus=0.5),
    ]
    found = gpus_of(requests, FOUR)
    assert found is not None
    assert set(found["reference_policy"]) <= set(found["rollout"])
    assert max(Counter(found["rollout"] + found["reference_policy"]).values()) == 2


def test_guests_find_room_on_one_gpu_where_every_order_of_pairs_fails() -> None:
    # GPU 0 has room for a host only; both guests must come to the second host, on GPU 1.
    nodes = [node("n", gpus=(0.5, 1.0))]
    requests = [
        request("rollout", replicas=2, gpus=0.5),
        request("b", replicas=2, gpus=0.25, shares_gpu_with="rollout"),
    ]
    assert gpus_of(requests, nodes) == {"rollout": [(0, 0), (0, 1)], "b": [(0, 1), (0, 1)]}


def test_roles_apart_get_different_gpus_and_none_that_others_use() -> None:
    nodes = [node("n", gpus=(0.6, 1.0, 1.0))]  # somebody else has a part of the first
    requests = [request("rollout", gpus=0.5), request("learner", gpus=0.5, apart_from=("rollout",))]
    assert gpus_of(requests, nodes) == {"rollout": [(0, 1)], "learner": [(0, 2)]}
    assert rivals_of(requests[0], requests) == {"learner"}  # either of the two may say it
    assert gpus_of(requests, [node("n", gpus=(0.6, 1.0))]) is None


def test_a_role_apart_from_itself_has_one_gpu_per_replica() -> None:
    found = gpus_of([request("rollout", replicas=3, gpus=0.3, apart_from=("rollout",))], FOUR)
    assert found == {"rollout": [(0, 0), (0, 1), (0, 2)]}


def test_custom_resources_are_used_up() -> None:
    pools = [Node(name, name, 8, resources={"reward_pool": amount}) for name, amount in (("a", 1.0), ("b", 2.0))]
    found = search([request("reward.x", replicas=3, resources={"reward_pool": 1})], pools)
    assert found == [[Place(0), Place(1), Place(1)]]
    assert search([request("reward.x", replicas=4, resources={"reward_pool": 1})], pools) is None


@pytest.mark.parametrize("num_learners", [124, 125])
def test_uneven_nodes_are_filled_to_the_last_gpu(num_learners: int) -> None:
    nodes = [node(f"n{i}", gpus=(1.0,) * (1 + i % 8), cpus=16, accelerator="H100") for i in range(64)]  # 288 GPUs
    requests = [request("learner", replicas=num_learners, gpus=1), request("rollout", replicas=82, gpus=2)]
    pairs = sum((1 + i % 8) // 2 for i in range(64))  # 128 pairs of GPUs, of which 82 are taken
    assert pairs >= 82
    assert (search(requests, nodes) is not None) == (num_learners + 164 <= 288)


def test_thousands_of_replicas_are_placed_within_seconds() -> None:
    nodes = [node(f"n{i}", gpus=(1.0,) * 8, accelerator="H100", cpus=128) for i in range(256)]
    requests = [
        request("rollout", replicas=1500, gpus=1),
        request("reward.x", replicas=500, gpus=0.5),
        request("reference_policy", replicas=500, gpus=0.5, shares_gpu_with="reward.x"),
    ]
    started = time.monotonic()
    assert search(requests, nodes) is not None
    assert time.monotonic() - started < 5


@settings(max_examples=60)
@given(
    replicas=st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 2)),
    shares=st.tuples(*[st.sampled_from([0.2, 0.3, 0.5])] * 3),
    free=st.lists(st.sampled_from([0.0, 0.3, 0.6, 1.0]), min_size=1, max_size=4),
)
def test_ties_hold_in_whatever_is_found(
    replicas: tuple[int, int, int], shares: tuple[float, float, float], free: list[float]
) -> None:
    requests = [
        request("rollout", replicas=replicas[0], gpus=shares[0]),
        request("b", replicas=replicas[1], gpus=shares[1], shares_gpu_with="rollout"),
        request("c", replicas=replicas[2], gpus=shares[2], apart_from=("b",)),
    ]
    found = gpus_of(requests, [node("n", gpus=tuple(free), cpus=100)])
    if found is None:
        return
    assert set(found["b"]) <= set(found["rollout"])
    assert not set(found["b"]) & set(found["c"])
    used: Counter[int] = Counter()
    for each in requests:
        used.update({gpu: 0.0 for _, gpu in found[each.role]})
        for _, gpu in found[each.role]:
            used[gpu] += each.resources.gpus  # type: ignore[assignment]
    assert all(used[gpu] <= free[gpu] + 1e-6 for gpu in used)
