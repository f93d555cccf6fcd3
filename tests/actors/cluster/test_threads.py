"""Threads per process: cores of the node, divided by who shares them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from actors.cluster.placement import Node, Request, Resources
from actors.cluster.threads import thread_counts, thread_environment


def test_five_roles_on_two_cores_have_one_thread_each() -> None:
    laptop = Node("laptop", "laptop", cpus=16, cores=2)
    roles = ["rollout", "reward.helpful", "reward.harmless", "reference_policy", "learner"]
    counts = thread_counts([Request(role) for role in roles], {role: [laptop] for role in roles})
    assert counts == dict.fromkeys(roles, 1)


def test_what_is_said_is_kept_and_the_rest_is_shared() -> None:
    node = Node("n", "n", cpus=16, cores=16)
    requests = [Request("rollout", Resources(threads=10)), Request("learner"), Request("reference_policy")]
    hosts = {request.role: [node] for request in requests}
    assert thread_counts(requests, hosts) == {"rollout": 10, "learner": 3, "reference_policy": 3}
    assert thread_counts(requests, hosts, at_most=2) == {"rollout": 10, "learner": 2, "reference_policy": 2}


def test_more_threads_than_cores_leave_one_for_each_other_role() -> None:
    node = Node("n", "n", cpus=4, cores=4)
    requests = [Request("rollout", Resources(threads=9)), Request("learner")]
    assert thread_counts(requests, {"rollout": [node], "learner": [node]}) == {"rollout": 9, "learner": 1}


@given(st.lists(st.integers(1, 64), min_size=1, max_size=4), st.lists(st.integers(0, 3), min_size=1, max_size=6))
def test_nodes_are_never_given_more_threads_than_cores_unless_everybody_has_one(
    cores: list[int], homes: list[int]
) -> None:
    nodes = [Node(str(i), str(i), cpus=1, cores=count) for i, count in enumerate(cores)]
    hosts = {f"r{i}": [nodes[home % len(nodes)]] for i, home in enumerate(homes)}
    counts = thread_counts([Request(role) for role in hosts], hosts)
    for node in nodes:
        here = [counts[role] for role, [host] in hosts.items() if host is node]
        assert sum(here) <= node.cores or set(here) == {1}


def test_every_library_of_threads_is_told() -> None:
    assert thread_environment(3) == {"OMP_NUM_THREADS": "3", "MKL_NUM_THREADS": "3", "OPENBLAS_NUM_THREADS": "3"}
