"""The running Ray cluster as plain values: its nodes, what is free on them, and admission against both."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import ray

from actors.cluster.placement import ACCELERATOR_LABEL, ACCELERATOR_RESOURCE, Assignment, Node, Request, admit
from allgood.errors import PlacementError

_GB = 1e9
_RELEASE_WAIT_S = 5.0


def cluster_nodes() -> list[Node]:
    """The living nodes of the running Ray cluster and what is free on them now."""
    free = ray._private.state.available_resources_per_node()  # Ray has no public call for free resources per node
    return [_node(node, free.get(node["NodeID"], {})) for node in ray.nodes() if node["Alive"]]


def cluster_capacity() -> list[Node]:
    """The living nodes of the running Ray cluster as if nobody used them."""
    return [_node(node, node["Resources"]) for node in ray.nodes() if node["Alive"]]


def accelerators_are_labelled() -> bool:
    """Whether every node with GPUs carries the label of its accelerator, so that label selectors see it."""
    nodes = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("GPU")]
    return all(ACCELERATOR_LABEL in node["Labels"] for node in nodes)


def admit_when_free(requests: Sequence[Request]) -> list[Assignment]:
    """Admission on what is free now. Resources of a cast that was just closed take a moment to come back."""
    deadline = time.monotonic() + _RELEASE_WAIT_S
    while True:
        try:
            return admit(requests, cluster_nodes())
        except PlacementError:
            admit(requests, cluster_capacity())  # an empty cluster could not hold it either: say so at once
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def _node(node: Mapping[str, Any], free: Mapping[str, float]) -> Node:
    total, labels = node["Resources"], node["Labels"]
    accelerators = {key.removeprefix(ACCELERATOR_RESOURCE) for key in total if key.startswith(ACCELERATOR_RESOURCE)}
    if ACCELERATOR_LABEL in labels:
        accelerators.add(labels[ACCELERATOR_LABEL])
    return Node(
        node_id=node["NodeID"],
        name=node["NodeManagerAddress"],
        cpus=free.get("CPU", 0.0),
        gpus=_gpu_shares(int(total.get("GPU", 0)), free.get("GPU", 0.0)),
        memory_gb=free.get("memory", 0.0) / _GB,
        accelerators=frozenset(accelerators),
    )


def _gpu_shares(count: int, free: float) -> tuple[float, ...]:
    """Free share per GPU. Ray tells only the sum, so it is read as whole free GPUs and one that is shared."""
    whole = min(count, int(free + 1e-6))
    shares = [1.0] * whole + [max(0.0, free - whole)] * (whole < count)
    return tuple(shares + [0.0] * (count - len(shares)))
