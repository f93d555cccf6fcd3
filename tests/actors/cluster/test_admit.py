"""Admission on hand-made clusters: what fits, what goes where, and the reason when it does not."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.cluster.admit import admit
from actors.cluster.placement import Node, Request, Resources
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


ROLLOUT_AND = request("rollout", gpus=0.5)


@pytest.mark.parametrize(
    ("other", "sentence"),
    [
        (request("b", gpus=0.5, shares_gpu_with="b"), "'b' is to share a GPU with itself"),
        (request("b", gpus=1, shares_gpu_with="rollout"), "ask for 1 and 0.5 GPUs; give both a fraction"),
        (request("b", shares_gpu_with="rollout"), "ask for 0 and 0.5 GPUs; give both a fraction"),
        (request("b", gpus=0.6, shares_gpu_with="rollout"), "ask for 1.1 of it together; lower one"),
        (
            request("b", gpus=0.5, shares_gpu_with="rollout", apart_from=("rollout",)),
            "are to share a GPU and to be apart; leave out one",
        ),
        (request("b", apart_from=("rollout",)), "to have different GPUs, but 'b' asks for none"),
    ],
)
def test_contradictory_placements_are_refused_with_one_sentence(other: Request, sentence: str) -> None:
    with pytest.raises(PlacementError, match=re.escape(sentence)) as refusal:
        admit([ROLLOUT_AND, other], DIFFERENT)
    assert "\n" not in str(refusal.value)


def test_a_guest_of_a_guest_is_told_whom_to_name() -> None:
    guests = [request("b", gpus=0.2, shares_gpu_with="rollout"), request("c", gpus=0.2, shares_gpu_with="b")]
    with pytest.raises(PlacementError, match="which shares that of 'rollout'; name 'rollout' in both"):
        admit([ROLLOUT_AND, *guests], DIFFERENT)


def test_ties_to_a_role_of_another_stage_bind_nobody() -> None:
    alone = request("b", shares_gpu_with="learner", apart_from=("learner",))
    [assignment] = admit([alone], DIFFERENT)
    assert (assignment.gpu, assignment.keeps_whole_gpu) == (None, False)


def test_assignments_say_which_gpu_only_where_that_matters() -> None:
    assert {a.gpu for a in admit([ROLLOUT_AND, request("b", gpus=0.5)], DIFFERENT)} == {None}
    tied = admit([ROLLOUT_AND, request("b", gpus=0.4, apart_from=("rollout",)), request("learner", gpus=1)], DIFFERENT)
    assert [(a.role, a.node, a.gpu, a.keeps_whole_gpu) for a in tied] == [
        ("rollout", "l4", 1, True),
        ("b", "t4", 0, True),
        ("learner", "l4", None, False),
    ]


def test_every_replica_of_a_role_has_the_threads_that_the_busiest_of_its_nodes_leaves() -> None:
    nodes = [replace(DIFFERENT[1], cores=12), replace(DIFFERENT[3], cores=6)]
    requests = [request("rollout", replicas=3, gpus=1), request("learner", gpus=1), request("reward", threads=3)]
    assigned = admit(requests, nodes)
    # l4 (12 cores) holds two rollouts and the reward model: (12 - 3) // 2 = 4; h100 (6) a rollout and the learner: 3
    assert {(a.role, a.node): a.threads for a in assigned} == {
        ("rollout", "l4"): 3,
        ("rollout", "h100"): 3,
        ("learner", "h100"): 3,
        ("reward", "l4"): 3,
    }
    assert {a.threads for a in admit(requests, nodes, max_threads=2) if a.role != "reward"} == {2}


@pytest.mark.parametrize(
    ("needs", "line"),
    [
        (request("x", cpus=9), "x would fit with cpus: 8, or 1 more node (9 CPU)"),
        (request("x", memory_gb=65), "x would fit with memory_gb: 64, or 1 more node (1 CPU + 65 GB)"),
        (request("x", gpus=1, accelerator="A100"), "accelerator: H100, or 1 more node (1 CPU + 1 A100)"),
        (request("x", gpus=1, accelerator="H100", replicas=5), "replicas: 2, or 3 more nodes (1 CPU + 1 H100)"),
        (request("x", gpus=3), "x would fit with gpus: 2, or 1 more node (1 CPU + 3 H100)"),
        (request("x", labels={"zone": "in(b,c)"}), "x would fit with no label zone, or 1 more node (1 CPU + zone b)"),
        (request("x", resources={"pool": 1}), "x would fit with 1 more node (1 CPU + 1 pool)"),
    ],
)
def test_a_refusal_names_the_nearest_change_that_fits(needs: Request, line: str) -> None:
    with pytest.raises(PlacementError) as refusal:
        admit([request("learner", gpus=1, accelerator="L4"), needs], DIFFERENT)
    assert str(refusal.value).splitlines()[-1].endswith(line)


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
        assert sum(a.needs.cpus for a in here) <= host.cpus + 1e-6
        assert sum(a.needs.gpus for a in here) <= sum(host.gpus) + 1e-6
