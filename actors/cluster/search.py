"""The search behind admission: a place for every replica, by backtracking over the hardest roles first.

GPUs are counted as Ray does: more than one must be a whole number, and a fraction never spans two GPUs. Where roles
share a GPU or stay apart, which GPU a replica gets is searched too; else it is the fullest that still has room.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from actors.cluster.placement import Node, Request

EPSILON = 1e-6  # sums of fractions such as 0.1 + 0.2 must still fit
MAX_TRIALS = 20_000  # bounds the search on clusters where first choices do not work out


@dataclass(frozen=True)
class Place:
    """A node by its index, and the indices of the GPUs there."""

    node: int
    gpus: tuple[int, ...] = ()


def search(
    requests: Sequence[Request], nodes: Sequence[Node], max_trials: int = MAX_TRIALS
) -> list[list[Place]] | None:
    """Places of every request's replicas; None when there are none, or none was found within `max_trials`."""
    ordered = sorted(requests, key=lambda request: _difficulty(request, nodes))
    guests = [request for request in ordered if request.resources.shares_gpu_with in {r.role for r in requests}]
    others = [request for request in ordered if not any(request is guest for guest in guests)]
    one_by_one = [_replicas(request) for request in [*others, *guests]]
    queues = [[request for replicas in one_by_one for request in replicas]]
    if guests:  # a guest right behind each replica of its host, so that hosts leave it room
        queues.insert(0, _interleaved(others, guests))
    for queue in queues:
        booked = _fill(queue, requests, nodes, max_trials)
        if booked is not None:
            return [
                [booking.place for booking, owner in zip(booked, queue, strict=True) if owner is request]
                for request in requests
            ]
    return None


def are_tied(requests: Sequence[Request]) -> bool:
    """Whether it matters which GPU of a node a replica gets."""
    return any(_partners(request, requests) or rivals_of(request, requests) for request in requests)


def rivals_of(request: Request, requests: Sequence[Request]) -> set[str]:
    """The roles among `requests` that stay apart from a role, whichever of the two says so."""
    named = {other.role for other in requests if request.role in other.resources.apart_from}
    return named | ({other.role for other in requests} & set(request.resources.apart_from))


def _partners(request: Request, requests: Sequence[Request]) -> bool:
    return any(
        request.resources.shares_gpu_with == other.role or other.resources.shares_gpu_with == request.role
        for other in requests
    )


@dataclass(frozen=True)
class _Booking:
    place: Place
    position: int  # among the role's options
    undo: Callable[[], None]


def _fill(
    queue: Sequence[Request], requests: Sequence[Request], nodes: Sequence[Node], max_trials: int
) -> list[_Booking] | None:
    """A booking per replica in the queue."""
    ledger = _Ledger(nodes, requests)
    options = {request.role: _options(request, requests, nodes) for request in requests}
    before = _previous_of_its_role(queue)
    booked: list[_Booking] = []
    next_try = [0]  # per replica, the position of the option that is tried next
    for _ in range(max_trials + len(queue)):
        if len(booked) == len(queue):
            return booked
        index = len(booked)
        request, position = queue[index], next_try[index]
        if position == len(options[request.role]):
            next_try.pop()
            if not booked:
                return None
            booked.pop().undo()
            continue
        next_try[index] += 1
        booking = ledger.take(request, options[request.role][position], position)
        if booking is not None:
            booked.append(booking)
            # Replicas of one role are alike, so only placements in ascending order are looked at.
            earlier = before[len(booked)] if len(booked) < len(queue) else None
            next_try.append(0 if earlier is None else booked[earlier].position)
    return booked if len(booked) == len(queue) else None


class _Ledger:
    """What is left on each node while replicas are tried out."""

    def __init__(self, nodes: Sequence[Node], requests: Sequence[Request]) -> None:
        self._roles = {request.role for request in requests}
        self._rivals = {request.role: rivals_of(request, requests) for request in requests}
        self._cpus = [node.cpus for node in nodes]
        self._memory = [node.memory_gb for node in nodes]
        self._custom = [dict(node.resources) for node in nodes]
        self._gpus = [list(node.gpus) for node in nodes]
        self._was_free = [[share >= 1 - EPSILON for share in node.gpus] for node in nodes]
        self._tenants: list[list[list[str]]] = [[[] for _ in node.gpus] for node in nodes]  # our roles on each GPU

    def take(self, request: Request, option: tuple[int, int | None], position: int) -> _Booking | None:
        """Book one replica on a node, and on one GPU of it where that matters; None when it does not fit."""
        needs, (index, _) = request.resources, option
        if (
            needs.cpus > self._cpus[index] + EPSILON
            or (needs.memory_gb or 0.0) > self._memory[index] + EPSILON
            or any(amount > self._custom[index].get(name, 0.0) + EPSILON for name, amount in needs.resources.items())
        ):
            return None
        gpus = self._choose(request, option)
        if gpus is None:
            return None
        self._book(request, index, gpus, 1)
        return _Booking(Place(index, tuple(gpus)), position, lambda: self._book(request, index, gpus, -1))

    def _book(self, request: Request, index: int, gpus: Sequence[int], sign: int) -> None:
        needs = request.resources
        self._cpus[index] -= sign * needs.cpus
        self._memory[index] -= sign * (needs.memory_gb or 0.0)
        for name, amount in needs.resources.items():
            self._custom[index][name] -= sign * amount
        for gpu in gpus:
            self._gpus[index][gpu] -= sign * needs.gpus / len(gpus)
            if sign > 0:
                self._tenants[index][gpu].append(request.role)
            else:
                self._tenants[index][gpu].remove(request.role)

    def _choose(self, request: Request, option: tuple[int, int | None]) -> list[int] | None:
        """The GPUs that a replica gets: whole free ones, or the fullest one that still holds the fraction."""
        wanted, (index, only) = request.resources.gpus, option
        free = self._gpus[index]
        if wanted == 0:
            return []
        if wanted < 1:
            gpus = range(len(free)) if only is None else [only]
            fitting = [gpu for gpu in gpus if free[gpu] + EPSILON >= wanted and self._welcomes(request, index, gpu)]
            return [min(fitting, key=lambda gpu: (free[gpu], gpu))] if fitting else None
        whole = [gpu for gpu in range(len(free)) if free[gpu] >= 1 - EPSILON]
        return whole[: round(wanted)] if len(whole) >= round(wanted) else None

    def _welcomes(self, request: Request, index: int, gpu: int) -> bool:
        """Whether a role's host is on a GPU, where it has one, and none of its rivals is."""
        tenants, rivals, host = (
            self._tenants[index][gpu],
            self._rivals.get(request.role),
            request.resources.shares_gpu_with,
        )
        if host in self._roles and host not in tenants:
            return False
        return not rivals or (self._was_free[index][gpu] and not rivals.intersection(tenants))


def _options(request: Request, requests: Sequence[Request], nodes: Sequence[Node]) -> list[tuple[int, int | None]]:
    """Nodes that match, and their GPUs where it matters which, in the order in which they are tried."""
    needs = request.resources
    matching = [index for index, node in enumerate(nodes) if node.matches(needs)]
    if not needs.gpus:  # leaves the nodes that have GPUs to the others, as long as it can
        return [(index, None) for index in sorted(matching, key=lambda index: (bool(nodes[index].gpus), index))]
    if needs.gpus < 1 and (_partners(request, requests) or rivals_of(request, requests)):
        return [(index, gpu) for index in matching for gpu in range(len(nodes[index].gpus))]
    return [(index, None) for index in matching]


def _difficulty(request: Request, nodes: Sequence[Node]) -> tuple[float, ...]:
    needs = request.resources
    fitting = [
        node for node in nodes if node.matches(needs) and _Ledger([node], ()).take(request, (0, None), 0) is not None
    ]
    return (len(fitting), -needs.gpus, -needs.cpus, -(needs.memory_gb or 0.0))


def _replicas(request: Request) -> list[Request]:
    return [request] * request.resources.replicas


def _interleaved(others: Sequence[Request], guests: Sequence[Request]) -> list[Request]:
    queue: list[Request] = []
    for request in others:
        columns = [_replicas(request), *(_replicas(guest) for guest in guests if _hosts(request, guest))]
        queue += [replica for row in zip_longest(*columns) for replica in row if replica is not None]
    known = {request.role for request in queue}
    return queue + [replica for guest in guests if guest.role not in known for replica in _replicas(guest)]


def _hosts(request: Request, guest: Request) -> bool:
    return guest.resources.shares_gpu_with == request.role


def _previous_of_its_role(queue: Sequence[Request]) -> list[int | None]:
    """Per replica, the index of the one of the same role before it."""
    last: dict[str, int] = {}
    found: list[int | None] = []
    for index, request in enumerate(queue):
        found.append(last.get(request.role))
        last[request.role] = index
    return found
