"""The running Ray cluster as plain values: its nodes, what is free on them, and admission against both."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ray

from actors.cluster.admit import admit
from actors.cluster.placement import (
    ACCELERATOR_LABEL,
    ACCELERATOR_RESOURCE,
    Assignment,
    Node,
    Request,
    bundle_of,
    selector_of,
)
from actors.location import usable_cores
from allgood.errors import PlacementError

_GB = 1e9
_RELEASE_WAIT_S = 5.0
_LOOK_S = 1.0  # between two looks at a cluster that grows
_TELL_S = 10.0
_BUILT_IN = frozenset({"CPU", "GPU", "memory", "object_store_memory"})

Tell = Callable[[str], None]


def cluster_nodes() -> list[Node]:
    """The living nodes of the running Ray cluster and what is free on them now."""
    free = ray._private.state.available_resources_per_node()  # Ray has no public call for free resources per node
    return [_node(node, free.get(node["NodeID"], {})) for node in ray.nodes() if node["Alive"]]


def cluster_capacity() -> list[Node]:
    """The living nodes of the running Ray cluster as if nobody used them."""
    return [_node(node, node["Resources"]) for node in ray.nodes() if node["Alive"]]


def living_node_ids() -> frozenset[str]:
    """The nodes that Ray believes to be there. One that stopped answering is among them for a while."""
    return frozenset(node["NodeID"] for node in ray.nodes() if node["Alive"])


def accelerators_are_labelled() -> bool:
    """Whether every node with GPUs carries the label of its accelerator, so that label selectors see it."""
    nodes = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("GPU")]
    return all(ACCELERATOR_LABEL in node["Labels"] for node in nodes)


def admit_when_free(
    requests: Sequence[Request], *, wait_for_nodes_s: float = 0.0, tell: Tell = lambda text: None
) -> list[Assignment]:
    """Admission on what is free now. Resources of a cast that was just closed take a moment to come back.

    Where the cluster could not hold the roles even if it were empty, that is said at once; or, with `wait_for_nodes_s`,
    once an autoscaler, which is asked for them, has not brought the nodes within that time. `tell` is told of the wait.

    Raises:
        PlacementError: The cluster cannot hold the roles; a table says why.
    """
    if wait_for_nodes_s:
        _wait_for_nodes(requests, wait_for_nodes_s, tell)
    deadline = time.monotonic() + _RELEASE_WAIT_S
    while True:
        try:
            return admit(requests, cluster_nodes(), max_threads=max_threads())
        except PlacementError:
            admit(requests, cluster_capacity())  # an empty cluster could not hold it either: say so at once
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def max_threads() -> int | None:
    """The bound on threads per process that OMP_NUM_THREADS sets, here as in every program that uses OpenMP."""
    value = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return int(value) if value.isdigit() and int(value) else None


def _wait_for_nodes(requests: Sequence[Request], wait_s: float, tell: Tell) -> None:
    """Ask an autoscaler for what the roles want, and wait until the cluster could hold them."""
    from ray.autoscaler.sdk import request_resources

    started, told = time.monotonic(), -_TELL_S
    wanted = [request.resources for request in requests for _ in range(request.resources.replicas)]
    request_resources(bundles=[*map(bundle_of, wanted)], bundle_label_selectors=[*map(selector_of, wanted)])
    try:
        while True:
            nodes, waited = cluster_capacity(), time.monotonic() - started
            try:
                admit(requests, nodes)
                return
            except PlacementError as error:
                if waited > wait_s:
                    raise PlacementError(f"after {wait_s:g} s of waiting for nodes {error}") from None
            if waited - told >= _TELL_S:
                fitting = sum(1 for request in requests if _fits([request], nodes))
                tell(
                    f"waiting for nodes: {len(nodes)} are there, {fitting} of {len(requests)} roles would fit alone, "
                    f"{waited:.0f} of {wait_s:g} s"
                )
                told = waited
            time.sleep(_LOOK_S)
    finally:
        request_resources(bundles=[])


def _fits(requests: Sequence[Request], nodes: Sequence[Node]) -> bool:
    try:
        admit(requests, nodes)
    except PlacementError:
        return False
    return True


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
        labels=dict(labels),
        resources={name: free.get(name, 0.0) for name in total if name not in _BUILT_IN and ":" not in name},
        cores=_cores(node),
    )


def _cores(node: Mapping[str, Any]) -> int:
    """Cores of a node: what Ray was told or found; on this host no more than there are, as Ray's number may be made up.

    A private Ray of ours claims more CPUs than a small machine has, so that all roles fit.
    """
    counted = max(1, int(node["Resources"].get("CPU", 1)))
    return min(counted, usable_cores()) if node["NodeManagerHostname"] == socket.gethostname() else counted


def _gpu_shares(count: int, free: float) -> tuple[float, ...]:
    """Free share per GPU. Ray tells only the sum, so it is read as whole free GPUs and one that is shared."""
    whole = min(count, int(free + 1e-6))
    shares = [1.0] * whole + [max(0.0, free - whole)] * (whole < count)
    return tuple(shares + [0.0] * (count - len(shares)))
