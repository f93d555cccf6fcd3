"""Admission on hand-made clusters: what fits, what goes where, and the reason when it does not."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.cluster.placement import Node, Request, Resources, accelerator_matcher, admit
from allgood.errors import PlacementError


def node(
    name: str, *, cpus: float = 8, gpus: tuple[float, ...] = (), accelerator: str = "", memory_gb: float = 64
) -> Node:
    accelerators = frozenset([accelerator]) if accelerator else frozenset()
    return Node(name, name, cpus, gpus, memory_gb, accelerators)


def request(role: str, **resources: Any) -> Request:
    return Request(role, Resources(**resources))


LAPTOP = [node("laptop", cpus=2)]
DIFFERENT = [
    node("head", cpus=4),
    node("l4", gpus=(1.0, 1.0), accelerator="L4"),
    node("t4", gpus=(1.0,), accelerator="T4"),
    node("h100", gpus=(1.0, 1.0), accelerator="H100"),
]


def hosts(requests: list[Request], nodes: list[Node]) -> dict[tuple[str, int], str]:
    return {(a.role, a.replica): a.node for a in admit(requests, nodes)}


@pytest.mark.parametrize(
    ("expression", "matching"),
    [
        (None, {"L4", "T4", "H100", ""}),
        ("H100", {"H100"}),
        ("!T4", {"L4", "H100", ""}),
        ("in(T4,L4)", {"T4", "L4"}),
        ("in(T4, L4)", {"T4", "L4"}),
        ("!in(T4,L4)", {"H100", ""}),
    ],
)
def test_accelerator_expressions_match_as_ray_labels_do(expression: str | None, matching: set[str]) -> None:
    matches = accelerator_matcher(expression)
    assert {name for name in ("L4", "T4", "H100", "") if matches(frozenset([name] if name else []))} == matching


@pytest.mark.parametrize("expression", ["", "in()", "T4,L4", "in(T4", "!!T4", "not T4"])
def test_unreadable_accelerator_is_refused_with_the_four_forms(expression: str) -> None:
    with pytest.raises(PlacementError, match=r"write 'H100', '!T4', 'in\(T4,L4\)' or '!in\(T4,L4\)'"):
        admit([request("learner", accelerator=expression)], LAPTOP)


def test_every_role_lands_on_its_own_accelerator() -> None:
    requests = [
        request("rollout", replicas=2, gpus=1, accelerator="L4"),
        request("reward.helpful", gpus=0.5, accelerator="T4"),
        request("reward.harmless", gpus=0.5, accelerator="!in(H100,L4)"),
        request("reference_policy", gpus=1, accelerator="in(H100,A100)"),
        request("learner", gpus=1, accelerator="H100"),
    ]
    assert hosts(requests, DIFFERENT) == {
        ("rollout", 0): "l4",
        ("rollout", 1): "l4",
        ("reward.helpful", 0): "t4",
        ("reward.harmless", 0): "t4",
        ("reference_policy", 0): "h100",
        ("learner", 0): "h100",
    }


def test_assignments_come_in_the_order_of_the_requests() -> None:
    requests = [request("b", replicas=2), request("a", gpus=1), request("c")]
    assert [(a.role, a.replica) for a in admit(requests, DIFFERENT)] == [("b", 0), ("b", 1), ("a", 0), ("c", 0)]


def test_role_without_gpu_leaves_gpu_nodes_to_others() -> None:
    nodes = [DIFFERENT[3], DIFFERENT[0]]
    assert set(hosts([request("reward", replicas=4)], nodes).values()) == {"head"}
    assert set(hosts([request("reward", replicas=5)], nodes).values()) == {"head", "h100"}


@pytest.mark.parametrize(
    ("gpus", "replicas", "fits"),
    [
        (0.4, 4, True),
        (0.4, 5, False),
        (0.6, 2, True),
        (0.6, 3, False),
        (1, 2, True),
        (2, 1, True),
        (2, 2, False),
        (3, 1, False),
    ],
)
def test_fractions_share_a_gpu_but_never_span_two(gpus: float, replicas: int, fits: bool) -> None:
    two_gpus = [node("n", cpus=100, gpus=(1.0, 1.0))]
    requests = [request("reward", replicas=replicas, cpus=1, gpus=gpus)]
    if fits:
        assert len(admit(requests, two_gpus)) == replicas
    else:
        with pytest.raises(PlacementError):
            admit(requests, two_gpus)


def test_more_than_one_gpu_must_be_whole() -> None:
    with pytest.raises(PlacementError, match=r"'learner' asks for 1\.5 GPUs; above 1 only whole numbers"):
        admit([request("learner", gpus=1.5)], DIFFERENT)


def test_gpus_of_one_replica_come_from_one_node() -> None:
    with pytest.raises(PlacementError, match="no matching node has that many free GPUs"):
        admit([request("learner", gpus=3)], DIFFERENT)


def test_ten_tenths_of_a_cpu_fit_one_cpu() -> None:
    assert len(admit([request("reward", replicas=10, cpus=0.1)], [node("n", cpus=1)])) == 10


def test_first_choice_is_taken_back_when_it_blocks_another_role() -> None:
    nodes = [node("big", cpus=4, gpus=(1.0,)), node("small", cpus=2, gpus=(1.0,))]
    requests = [request("rollout", cpus=1, gpus=1), request("learner", cpus=3, gpus=1)]
    assert hosts(requests, nodes) == {("rollout", 0): "small", ("learner", 0): "big"}
    # equally hard requests, where the greedy order is wrong: 3 + 3 on one node, 2 + 2 + 2 on the other
    sixes = [node("a", cpus=6), node("b", cpus=6)]
    mixed = [request("three", replicas=2, cpus=3), request("two", replicas=3, cpus=2)]
    assert len(admit(mixed, sixes)) == 5


def test_refusal_is_one_table_that_names_the_role_and_the_reason() -> None:
    requests = [
        request("rollout", replicas=2, gpus=1, accelerator="H100"),
        request("reward.helpful", gpus=1, accelerator="A100"),
    ]
    with pytest.raises(PlacementError) as refusal:
        admit(requests, DIFFERENT)
    lines = str(refusal.value).splitlines()
    assert [cell.strip() for cell in lines[1].split("|")] == ["role", "wants", "cluster has free", "why not"]
    assert [cell.strip() for cell in lines[3].split("|")][::3] == ["rollout", "fits"]
    helpful = [cell.strip() for cell in lines[4].split("|")]
    assert helpful == [
        "reward.helpful",
        "1 x 1 CPU + 1 GPU on A100",
        "1 x (4 CPU), 1 x (8 CPU + 2 L4), 1 x (8 CPU + 1 T4), 1 x (8 CPU + 2 H100)",
        "no node matches accelerator A100",
    ]


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (request("learner", replicas=3, gpus=1, accelerator="H100"), "only 2 of 3 replicas fit"),
        (request("learner", cpus=9), "no matching node has that many free CPUs"),
        (request("learner", memory_gb=65), "no matching node has that much free memory"),
        (request("learner", gpus=1, accelerator="!in(L4,T4,H100)"), "no matching node has that many free GPUs"),
        (request("learner", cpus=8, gpus=2, accelerator="T4"), "no matching node has that many free GPUs"),
    ],
)
def test_refusal_says_what_is_missing(request_: Request, reason: str) -> None:
    with pytest.raises(PlacementError, match=reason):
        admit([request_], DIFFERENT)


def test_roles_that_fit_only_one_by_one_are_named() -> None:
    with pytest.raises(PlacementError) as refusal:
        admit([request("rollout", cpus=1.5), request("learner", cpus=1)], LAPTOP)
    rows = [line for line in str(refusal.value).splitlines() if line.startswith(("rollout", "learner"))]
    assert rows[0].endswith("| fits")
    assert rows[1].endswith("| fits alone, not alongside the roles above")


def test_a_cluster_without_nodes_is_refused() -> None:
    with pytest.raises(PlacementError, match="no nodes"):
        admit([request("rollout")], [])


def test_hopeless_search_on_a_large_cluster_ends_soon() -> None:
    nodes = [node(f"n{i}", gpus=(1.0,) * 8, accelerator="H100", cpus=16) for i in range(32)]
    requests = [request(f"r{i}", replicas=8, cpus=3 + i % 5, gpus=1) for i in range(33)]
    started = time.monotonic()
    with pytest.raises(PlacementError):
        admit(requests, nodes)
    assert time.monotonic() - started < 5


@settings(max_examples=60)
@given(
    requests=st.lists(
        st.builds(
            request,
            role=st.uuids().map(str),
            replicas=st.integers(1, 3),
            cpus=st.sampled_from([0.25, 1.0, 2.0]),
            gpus=st.sampled_from([0.0, 0.3, 0.5, 1.0, 2.0]),
            accelerator=st.sampled_from([None, "L4", "!T4", "in(T4,H100)"]),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_admitted_assignments_never_overbook_a_node(requests: list[Request]) -> None:
    try:
        assignments = admit(requests, DIFFERENT)
    except PlacementError:
        return
    assert len(assignments) == sum(each.resources.replicas for each in requests)
    for host in DIFFERENT:
        here = [a for a in assignments if a.node_id == host.node_id]
        assert sum(a.cpus for a in here) <= host.cpus + 1e-6
        assert sum(a.gpus for a in here) <= sum(host.gpus) + 1e-6
