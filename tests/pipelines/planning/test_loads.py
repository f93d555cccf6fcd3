"""Memory of GPUs and nodes, by hand."""

from __future__ import annotations

from typing import Literal

import pytest

from actors.cluster.placement import Node, Request, Resources
from actors.cluster.search import Place
from pipelines.inspection.memory import Memory
from pipelines.inspection.roles import Role
from pipelines.planning.cluster_file import cluster_of
from pipelines.planning.loads import loads

NODES = [
    Node("a", "a", 8, (1.0, 1.0), 20.0, frozenset(["T4"])),
    Node("b", "b", 8, (1.0,), 20.0, frozenset(["unknown"])),
]


def role(name: str, device: Literal["cpu", "gpu"], gigabytes: float, copies: float = 0.0) -> Role:
    return Role(name, device, 1, Memory(parameters=int(gigabytes * 1e9), copies=int(copies * 1e9)), "")


def test_roles_are_summed_where_they_are() -> None:
    roles = {
        "rollout": role("rollout", "gpu", 7.0),
        "reward.x": role("x", "gpu", 9.0),
        "learner": role("l", "cpu", 4, 2),
    }
    requests = [Request(name, Resources(gpus=0.5)) for name in roles]
    places = [[Place(0, (1,)), Place(0, (0,))], [Place(0, (1,))], [Place(1)]]
    found = loads(requests, places, roles, cluster_of(NODES))
    assert [(load.node, load.gpu, list(load.roles)) for load in found] == [
        ("a", 0, ["rollout"]),
        ("a", 1, ["rollout", "reward.x"]),
        ("a", None, ["rollout", "rollout", "reward.x"]),
        ("b", None, ["learner"]),
    ]
    # GPU: 1 GB of libraries each; main memory: half a GB each, and all of what computes there
    assert [load.needed_gb for load in found] == pytest.approx([8, 7 + 9 + 2, 1.5, 4 + 2 + 0.5])
    assert [load.has_gb for load in found] == [16, 16, 20, 20]
    assert [load.is_too_much for load in found] == [False, True, False, False]


def test_copies_of_a_role_on_a_gpu_lie_in_main_memory_and_every_gpu_of_it_is_full() -> None:
    found = loads(
        [Request("learner", Resources(gpus=2))],
        [[Place(0, (0, 1))]],
        {"learner": role("l", "gpu", 3, 5)},
        cluster_of(NODES),
    )
    assert [(load.gpu, load.needed_gb) for load in found] == [(0, 4.0), (1, 4.0), (None, 5.5)]


def test_a_gpu_of_unknown_memory_is_never_called_too_small() -> None:
    [gpu, _] = loads(
        [Request("rollout", Resources(gpus=1))],
        [[Place(1, (0,))]],
        {"rollout": role("r", "gpu", 999)},
        cluster_of(NODES),
    )
    assert (gpu.has_gb, gpu.is_too_much) == (None, False)


def test_roles_of_which_nothing_is_known_are_left_out() -> None:
    assert loads([Request("rollout")], [[Place(0)]], {}, cluster_of(NODES)) == []
