"""The seats of a cast, and new ones for replicas whose node was lost.

Bundles of a placement group are bound to the nodes that were admitted. So the replicas of a lost node are admitted
again, to the nodes that are there now, and get a placement group of their own. They keep their threads, which decide
the last bits. A node that comes back is a new one to Ray, and here too: nothing on it is believed to be current.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from ray.util.placement_group import PlacementGroup, remove_placement_group

from actors.cluster.admission import Tell, admit_when_free, living_node_ids
from actors.cluster.placement import Assignment, Request
from actors.cluster.seats import Seat, reserve
from allgood.errors import PlacementError, RoleError

Key = tuple[str, int]
"""Role and replica."""


@dataclass(frozen=True)
class Waits:
    """How long the reservation of seats may take, and before it the wait for nodes, of which `tell` is told."""

    timeout_s: float
    wait_for_nodes_s: float
    tell: Tell


class Seating:
    """Where the replicas of a cast sit. `owns_group` says that their placement group is the cast's own."""

    def __init__(self, seats: Sequence[Seat], waits: Waits, *, owns_group: bool) -> None:
        self._seats: dict[Key, Seat] = {(seat.who.role, seat.who.replica): seat for seat in seats}
        self._groups = _groups(seats) if owns_group else []
        self._owns_group, self.waits = owns_group, waits
        self._changing = threading.Lock()  # replicas of several roles may be lost with a node
        self._is_closed = False

    def __getitem__(self, key: Key) -> Seat:
        return self._seats[key]

    def __iter__(self) -> Iterator[Key]:
        return iter(self._seats)

    def has_lost(self, keys: Iterable[Key]) -> bool:
        """Whether the node of one of these seats is known to be gone."""
        living = living_node_ids()
        return any(self._seats[key].assignment.node_id not in living for key in keys)

    def leave_lost_nodes(self) -> None:
        """Find other seats for everybody whose node is known to be gone.

        Raises:
            RoleError: The cluster cannot hold them, or others decide where they sit.
        """
        with self._changing:
            living = living_node_ids()
            lost = {key: seat for key, seat in self._seats.items() if seat.assignment.node_id not in living}
            if not lost:
                return
            if not self._owns_group:
                raise RoleError(f"{_loss(lost.values())}; only whoever gave them their places can find others")
            self._seats.update(zip(lost, self._moved(list(lost.values())), strict=True))
            self._drop_empty_groups()

    def close(self) -> None:
        """Free what was reserved."""
        self._is_closed = True
        for group in self._groups:
            remove_placement_group(group)
        self._groups = []

    def _moved(self, lost: Sequence[Seat]) -> list[Seat]:
        waits = self.waits
        try:
            found = _admitted([seat.assignment for seat in lost], waits)
            group, bundles = reserve(found, waits.timeout_s)
        except PlacementError as error:
            raise RoleError(f"{_loss(lost)}, and has no place left for what ran there: {error}") from error
        if self._is_closed:
            remove_placement_group(group)
            raise RoleError(f"{_loss(lost)}, and the cast is closed")
        self._groups.append(group)
        there = [
            Seat(assignment, group, bundle, seat.name)
            for assignment, bundle, seat in zip(found, bundles, lost, strict=True)
        ]
        waits.tell(f"{_loss(lost)}: " + ", ".join(f"{_replica(seat)} goes to {seat.who.node}" for seat in there))
        return there

    def _drop_empty_groups(self) -> None:
        """Ray goes on looking for the nodes of a group whose bundles it has lost."""
        used = _groups(self._seats.values())
        for group in self._groups:
            if group not in used:
                remove_placement_group(group)
        self._groups = used


def _admitted(lost: Sequence[Assignment], waits: Waits) -> list[Assignment]:
    """A place for each of the lost ones, in their order."""
    by_role = {assignment.role: [other for other in lost if other.role == assignment.role] for assignment in lost}
    requests = [
        Request(role, replace(members[0].needs, replicas=len(members), threads=members[0].threads))
        for role, members in by_role.items()
    ]
    places = admit_when_free(requests, wait_for_nodes_s=waits.wait_for_nodes_s, tell=waits.tell)
    before = [assignment for members in by_role.values() for assignment in members]
    found = {
        (old.role, old.replica): replace(
            new,
            replica=old.replica,
            needs=old.needs,
            keeps_whole_gpu=old.keeps_whole_gpu,  # roles that it is to be apart from may not be among the lost
        )
        for old, new in zip(before, places, strict=True)
    }
    return [found[old.role, old.replica] for old in lost]


def _groups(seats: Iterable[Seat]) -> list[PlacementGroup]:
    return list({seat.group.id: seat.group for seat in seats}.values())


def _loss(seats: Iterable[Seat]) -> str:
    seats = list(seats)
    nodes = " and ".join(dict.fromkeys(seat.who.node for seat in seats))
    return f"the cluster has lost {nodes} with {', '.join(map(_replica, seats))}"


def _replica(seat: Seat) -> str:
    return f"{seat.who.role} {seat.who.replica}"
