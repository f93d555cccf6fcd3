"""How many torch threads a process has: the cores of its node, divided by the processes that share them.

All replicas of a role have the same number: 1 and 2 threads differ in the last bits, and any replica must be able to
stand in for another.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from actors.cluster.placement import Node, Request

_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def thread_counts(
    requests: Sequence[Request], hosts: Mapping[str, Sequence[Node]], *, at_most: int | None = None
) -> dict[str, int]:
    """Threads of each role's processes.

    Roles that say how many keep that number. On each node the others share the cores that are left evenly, whole
    threads only and at least one; a role has what the busiest of its nodes leaves it.

    Args:
        requests: The roles.
        hosts: By role, the node of each replica.
        at_most: A bound on what is worked out here; not on what a role says.

    >>> node = Node("a", "a", cpus=8, cores=8)
    >>> thread_counts([Request("rollout"), Request("learner")], {"rollout": [node, node], "learner": [node]})
    {'rollout': 2, 'learner': 2}
    """
    given = {request.role: request.resources.threads for request in requests}
    taken: Counter[str] = Counter()
    sharing: Counter[str] = Counter()
    for role, nodes in hosts.items():
        for node in nodes:
            taken[node.node_id] += given[role] or 0
            sharing[node.node_id] += given[role] is None

    def share(node: Node) -> int:
        return max(1, (node.cores - taken[node.node_id]) // sharing[node.node_id])

    def worked_out(nodes: Sequence[Node]) -> int:
        least = min(share(node) for node in nodes)
        return least if at_most is None else min(least, at_most)

    return {role: given[role] or worked_out(nodes) for role, nodes in hosts.items()}


def thread_environment(threads: int) -> dict[str, str]:
    """What a process must find in its environment before it imports torch, to have this many threads."""
    return dict.fromkeys(_VARIABLES, str(threads))
