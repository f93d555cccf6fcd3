"""Does what is placed fit into memory: of each GPU, and of each node?

A role that computes on a GPU needs its bytes there, and its copies of weights in the node's main memory; one on the CPU
needs all in main memory. Bytes per process are estimates (`pipelines.inspection.memory`); libraries come on top.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from actors.cluster.placement import Request
from actors.cluster.search import Place
from pipelines.inspection.roles import Role
from pipelines.planning.cluster_file import Cluster

_GB = 1e9
_LIBRARIES_GB = {"cpu": 0.5, "gpu": 1.0}  # of one process


@dataclass(frozen=True)
class Load:
    """One GPU, or the main memory of one node, and the processes there.

    Attributes:
        node, gpu: Which; `gpu` is None for main memory.
        roles: Whose processes are there, one entry for each.
        needed_gb: What they need together.
        has_gb: What is there; None where the type of the GPU is not known.
    """

    node: str
    gpu: int | None
    roles: Sequence[str]
    needed_gb: float
    has_gb: float | None

    @property
    def is_too_much(self) -> bool:
        """Whether more is needed than is known to be there."""
        return self.has_gb is not None and self.needed_gb > self.has_gb


def loads(
    requests: Sequence[Request], places: Sequence[Sequence[Place]], roles: Mapping[str, Role], cluster: Cluster
) -> list[Load]:
    """The memory of every GPU and node that is used; several GPUs of one process each hold what one would.

    Args:
        requests: The roles that are placed.
        places: Per request, the place of each replica.
        roles: By the name of a request, what one of its processes needs; those without an entry are left out.
        cluster: Where they are placed.
    """
    used: dict[tuple[int, int | None], list[tuple[str, float]]] = {}
    for request, replicas in zip(requests, places, strict=True):
        role = roles.get(request.role)
        if role is None:
            continue
        for place in replicas:
            for gpu, gigabytes in _parts(role, place):
                used.setdefault((place.node, gpu), []).append((request.role, gigabytes))
    return [
        Load(
            cluster.nodes[node].name,
            gpu,
            [name for name, _ in there],
            sum(gigabytes for _, gigabytes in there),
            cluster.nodes[node].memory_gb if gpu is None else cluster.gpu_memory_gb.get(cluster.nodes[node].node_id),
        )
        for (node, gpu), there in sorted(used.items(), key=lambda item: (item[0][0], item[0][1] is None, item[0][1]))
    ]


def process_gb(role: Role) -> float:
    """What one process of a role needs on its device, libraries included."""
    return role.total / _GB + _LIBRARIES_GB[role.device]


def _parts(role: Role, place: Place) -> list[tuple[int | None, float]]:
    if role.device == "cpu" or not place.gpus:
        return [(None, process_gb(role))]
    on_gpus: list[tuple[int | None, float]] = [(gpu, process_gb(role)) for gpu in place.gpus]
    return [*on_gpus, (None, role.memory.copies / _GB + _LIBRARIES_GB["cpu"])]
