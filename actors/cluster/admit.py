"""Admission: does the cluster hold what the roles ask for, and what goes where? A pure function of plain values.

Ray lets a request that no node can meet wait for ever; here it is refused at once, with one table that says, per role,
what it wants, what the cluster has, why that is not enough, and the nearest change that would be.
"""

from __future__ import annotations

from collections.abc import Sequence

from actors.cluster.placement import Assignment, Node, Request, Resources, label_matcher
from actors.cluster.refusal import refusal, wants
from actors.cluster.search import Place, are_tied, rivals_of, search
from actors.cluster.threads import thread_counts
from allgood.errors import PlacementError


def admit(requests: Sequence[Request], nodes: Sequence[Node], *, max_threads: int | None = None) -> list[Assignment]:
    """Place every replica of every request, in the order of the requests.

    `max_threads` bounds the threads of roles that do not say how many they have.

    Raises:
        PlacementError: A request is malformed, or the cluster cannot hold all of them. The message is a table.
    """
    for request in requests:
        _check(request, requests)
    chosen = search(requests, nodes)
    if chosen is None:
        raise PlacementError(refusal(requests, nodes))
    hosts = {
        request.role: [nodes[place.node] for place in places] for request, places in zip(requests, chosen, strict=True)
    }
    threads = thread_counts(requests, hosts, at_most=max_threads)
    tied = are_tied(requests)
    return [
        Assignment(
            role=request.role,
            replica=replica,
            node_id=nodes[place.node].node_id,
            node=nodes[place.node].name,
            accelerators=nodes[place.node].accelerators,
            needs=request.resources,
            threads=threads[request.role],
            gpu=_bound_gpu(request.resources, place) if tied else None,
            keeps_whole_gpu=bool(rivals_of(request, requests)),
        )
        for request, places in zip(requests, chosen, strict=True)
        for replica, place in enumerate(places)
    ]


def _bound_gpu(needs: Resources, place: Place) -> int | None:
    """The one GPU that a fraction is a part of; None for whole GPUs, which nobody shares."""
    return place.gpus[0] if 0 < needs.gpus < 1 else None


def _check(request: Request, requests: Sequence[Request]) -> None:
    role, needs = request.role, request.resources
    label_matcher(needs.accelerator)
    for expression in needs.labels.values():
        label_matcher(expression)
    if needs.replicas < 1:
        raise PlacementError(f"role {role!r} asks for {needs.replicas} replicas; it needs at least 1")
    if min(needs.cpus, needs.gpus, needs.memory_gb or 0.0, *needs.resources.values()) < 0:
        raise PlacementError(f"role {role!r} asks for a negative amount: {wants(needs)}")
    if needs.gpus > 1 and needs.gpus != round(needs.gpus):
        raise PlacementError(f"role {role!r} asks for {needs.gpus:g} GPUs; above 1 only whole numbers are possible")
    _check_ties(request, {other.role: other.resources for other in requests})


def _check_ties(request: Request, roles: dict[str, Resources]) -> None:
    """Refuse what cannot be meant: ties of a role without a fraction of a GPU, and ties that contradict each other."""
    role, needs = request.role, request.resources
    host = needs.shares_gpu_with
    if host in roles:
        there = roles[host]
        if host == role:
            raise PlacementError(f"role {role!r} is to share a GPU with itself; name another role")
        if there.shares_gpu_with in roles:
            raise PlacementError(
                f"role {role!r} is to share a GPU with {host!r}, which shares that of {there.shares_gpu_with!r}; "
                f"name {there.shares_gpu_with!r} in both"
            )
        if not (0 < needs.gpus < 1 and 0 < there.gpus < 1):
            raise PlacementError(
                f"roles {role!r} and {host!r} are to share a GPU, but ask for {needs.gpus:g} and {there.gpus:g} GPUs; "
                "give both a fraction, such as 0.5"
            )
        if needs.gpus + there.gpus > 1 + 1e-6:
            raise PlacementError(
                f"roles {role!r} and {host!r} are to share a GPU, but ask for {needs.gpus + there.gpus:g} of it "
                "together; lower one of the two"
            )
        if host in needs.apart_from or role in there.apart_from:
            raise PlacementError(f"roles {role!r} and {host!r} are to share a GPU and to be apart; leave out one")
    for other in set(needs.apart_from) & roles.keys():
        if 0 in (needs.gpus, roles[other].gpus):
            without = role if not needs.gpus else other
            raise PlacementError(
                f"roles {role!r} and {other!r} are to have different GPUs, but {without!r} asks for none; "
                f"give it `gpus`, or leave out `apart_from`"
            )
