"""The one place that starts actors: admission, one placement group, every role pinned to its node, all or nothing.

`spawn` first asks `admit` where each replica goes, then reserves exactly that (each bundle names its node),
starts the actors, and waits until each has answered. Who does not start is named, and everything is taken down again.
Ray restarts none but the frozen ones of a named cast: any other would silently hold its first weights again. `restart`
starts one replica anew by its role's recipe, so that it answers as the one before it did; `recovery` decides when. If
its node is gone, it gets another seat (`seating`); for a named cast its owner sees to that (`guard`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import ray
from ray.util.placement_group import PlacementGroup

from actors.cluster.admission import Tell, admit_when_free, living_node_ids
from actors.cluster.placement import Assignment, Request, Resources, amounts_of
from actors.cluster.recipe import Recipe, Spec
from actors.cluster.recovery import Loss
from actors.cluster.seating import Seating, Waits
from actors.cluster.seats import Seat, reserve
from actors.cluster.starting import (
    answer_after_restart,
    end_for_good,
    end_for_restart,
    first_answer,
    instruct,
)
from actors.cluster.supervision import LEARNER, Who, ask_blocking, wait_for
from actors.sources import Find, as_named
from actors.tables import BARS, text_table
from actors.weights.publication import discard_published
from allgood.errors import RoleError

_JOIN_TIMEOUT_S = 120.0


@dataclass(frozen=True)
class Part:
    """A role's spec and its resources. Every replica gets the same spec."""

    spec: Spec
    resources: Resources = field(default_factory=Resources)


@dataclass(frozen=True)
class CastRequest:
    """The roles to start; absent ones are not. `rewards` is keyed by property.

    `timeout_s` bounds the start, `wait_for_nodes_s` the wait for nodes that an autoscaler brings before it. `find` is
    how actors find models on nodes that do not see the driver's disk.
    """

    timeout_s: float = field(kw_only=True)
    wait_for_nodes_s: float = field(kw_only=True, default=0.0)
    rollout: Part | None = None
    rewards: Mapping[str, Part] = field(default_factory=dict)
    reference_policy: Part | None = None
    learner: Part | None = None
    find: Find = as_named

    def parts(self) -> dict[str, Part]:
        """Role name to part, in the order of the table: rollout, reward.<property>, reference_policy, learner."""
        named = [("rollout", self.rollout), *((f"reward.{name}", part) for name, part in self.rewards.items())]
        named += [("reference_policy", self.reference_policy), (LEARNER, self.learner)]
        return {name: part for name, part in named if part is not None}


class Cast:
    """Running actors. A context manager: leaving it kills them and frees their resources."""

    def __init__(self, request: CastRequest, seats: Sequence[Seat], tell: Tell, *, owns_group: bool) -> None:
        self._recipes = {role: Recipe(part.spec, find=request.find) for role, part in request.parts().items()}
        waits = Waits(request.timeout_s, request.wait_for_nodes_s, tell)
        self._seats = Seating(seats, waits, owns_group=owns_group)
        self._timeout_s = request.timeout_s
        self._places: dict[tuple[str, int], dict[str, Any]] = {}
        self._changing = threading.Lock()  # lanes of several threads share a cast
        self._restarting = {key: threading.Lock() for key in self._seats}
        self._actors: dict[str, list[Any]] = {role: [] for role in self._recipes}
        for seat in seats:
            self._actors[seat.who.role].append(seat.start(self._recipes[seat.who.role]))

    @property
    def scorers(self) -> list[str]:
        """Properties that have reward actors, in the order of the request."""
        return [role.removeprefix("reward.") for role in self._recipes if role.startswith("reward.")]

    @property
    def longest_move_s(self) -> float:
        """How long it may take until the actors of a lost node are there again: to find places, and to start."""
        return self._seats.waits.wait_for_nodes_s + self._seats.waits.timeout_s + self._timeout_s

    def handles(self, role: str) -> Sequence[Any]:
        """The replicas of a role as they are now, learners in rank order; empty for a role that is not there."""
        return tuple(self._actors.get(role, ()))

    def who(self, role: str, replica: int = 0) -> Who:
        """The name of an actor for messages. Roles: rollout, reward.<property>, reference_policy, learner."""
        return self._seats[role, replica].who

    def place(self, role: str, replica: int = 0) -> Mapping[str, Any]:
        """What an actor has said about where it runs, and its node's id and name."""
        return self._places[role, replica]

    def change_recipe(self, role: str, change: Callable[[Recipe], Recipe]) -> None:
        """Note what the replicas of a role are told, for one that starts anew."""
        with self._changing:
            self._recipes[role] = change(self._recipes[role])

    def restart(self, role: str, replica: int = 0, loss: Loss | None = None) -> bool:
        """End what is left of a replica, start it anew in its seat, and make of it what the role's recipe says.

        Whoever looks the replica up finds the new one once it is ready. Learners only meet at their start, so all of
        them start anew. They come back without an arm, and refuse to update before they have loaded a checkpoint.
        Returns whether this call did it: with `loss`, nothing happens where another replica sits there already.

        Raises:
            RoleError: It did not start in time or died again, or the cast is closed.
        """
        with self._restarting[role, 0 if role == LEARNER else replica]:  # several lanes may find the same death
            if not self._actors:
                raise RoleError(f"there is no {role} actor {replica}: the cast is closed")
            if loss is not None and self._actors[role][replica] is not loss.handle:
                return False
            if self._seats[role, replica].name is not None:
                self._restart_named(role, replica, is_dead=loss is not None and not loss.is_hung)
            else:
                self._start_anew(role, range(len(self._actors[role])) if role == LEARNER else [replica])
        return True

    def leave_lost_nodes(self) -> None:
        """Start those actors of a named cast elsewhere whose nodes are gone, under their names.

        Raises:
            RoleError: The cluster has no place for them, or they did not start there.
        """
        living = living_node_ids()
        for (role, replica), place in self.places().items():
            if place["node_id"] in living:
                continue
            with self._restarting[role, replica]:
                if self._actors and self._places[role, replica]["node_id"] not in living:
                    self._restart_named(role, replica, is_dead=True)

    def give_up_lost(self) -> None:
        """End for good what ran on lost nodes, so that those who look for it by name hear that it is gone."""
        living = living_node_ids()
        for (role, replica), place in self.places().items():
            if place["node_id"] not in living and self._actors:
                ray.kill(self._actors[role][replica])

    def _start_anew(self, role: str, replicas: Sequence[int]) -> None:
        for replica in replicas:
            end_for_good(self._actors[role][replica], self._seats[role, replica])
        deadline = time.monotonic() + self._timeout_s
        while True:
            self._seats.leave_lost_nodes()
            try:
                self._start_in_seats(role, replicas)
                return
            except RoleError:  # that a node is gone is known a while after its actors have
                if time.monotonic() > deadline or not self._seats.has_lost((role, replica) for replica in replicas):
                    raise

    def _start_in_seats(self, role: str, replicas: Sequence[int]) -> None:
        started = {replica: self._seats[role, replica].start(self._recipes[role]) for replica in replicas}
        try:
            met = {replica: actor.location.remote() for replica, actor in started.items()}
            for replica, actor in started.items():
                seat = self._seats[role, replica]
                self._places[role, replica] = self._met(seat, met[replica], self._timeout_s)
                instruct(
                    actor, self._recipes[role], seat.who, deadline_s=self._timeout_s
                )  # what it was told since, too
            if len(started) > 1:
                self._join_learners(list(started.values()))
        except BaseException:
            for actor in started.values():
                ray.kill(actor)
            raise
        for replica, actor in started.items():
            self._actors[role][replica] = actor

    def _restart_named(self, role: str, replica: int, *, is_dead: bool) -> None:
        """Ray starts an actor of a named cast anew where it was; on another node only its name can be the same."""
        self._seats.leave_lost_nodes()
        seat, actor = self._seats[role, replica], self._actors[role][replica]
        if self._places[role, replica]["node_id"] != seat.assignment.node_id:
            self._start_anew(role, [replica])
            return
        if not is_dead:
            end_for_restart(actor, seat.who, timeout_s=self._timeout_s)
        _, place = answer_after_restart(lambda: actor, seat.who, timeout_s=self._timeout_s)
        self._places[role, replica] = {**place, "node_id": seat.assignment.node_id, "node": seat.assignment.node}
        instruct(actor, self._recipes[role], seat.who, deadline_s=self._timeout_s)

    def where(self) -> str:
        """A table of what landed where."""
        rows = [
            (role, str(replica), seat.assignment.node, *_seen(seat.assignment, self._places[role, replica]))
            for role, replica in self._seats
            for seat in [self._seats[role, replica]]
        ]
        header = ("role", "replica", "node", "accelerator", "resources", "threads", "process")
        return "\n".join(text_table(header, rows, between=BARS))

    def places(self) -> dict[tuple[str, int], dict[str, Any]]:
        """(role, replica) to what the actor says about its place, and the node's id and name."""
        return dict(self._places)

    def close(self) -> None:
        """Kill the actors and free what was reserved. Calling it again does nothing."""
        handles, self._actors = [handle for handles in self._actors.values() for handle in handles], {}
        if not ray.is_initialized():  # the session ended before us, and took everything along
            return
        for handle in handles:
            ray.kill(handle)
        if handles:
            self._seats.close()
        notice = self._recipes["rollout"].notice if "rollout" in self._recipes else None
        if handles and notice is not None:
            discard_published(notice)

    def __enter__(self) -> Cast:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _meet(self) -> None:
        """Wait until every actor has answered, then let the learners form their group."""
        deadline = time.monotonic() + self._timeout_s
        asked = [(key, self._actors[key[0]][key[1]].location.remote()) for key in self._seats]
        problems: list[Exception] = []
        for key, reference in asked:
            try:
                self._places[key] = self._met(self._seats[key], reference, deadline - time.monotonic())
            except RoleError as error:
                problems.append(error)
        if len(problems) == 1:
            raise problems[0]
        if problems:
            raise RoleError(
                f"{len(problems)} of {len(asked)} actors did not start: "
                + "; ".join(str(problem) for problem in problems)
            )
        if len(self.handles(LEARNER)) > 1:
            self._join_learners(self.handles(LEARNER))

    def _met(self, seat: Seat, location: ray.ObjectRef[Any], timeout_s: float) -> dict[str, Any]:
        """What an actor that was just started says about its place, and its node."""
        place = first_answer(location, seat, timeout_s=timeout_s)
        return {**place, "node_id": seat.assignment.node_id, "node": seat.assignment.node}

    def _join_learners(self, learners: Sequence[Any]) -> None:
        who = self.who(LEARNER)
        host = self._seats[LEARNER, 0].assignment.node
        address = ask_blocking(learners[0].open_group, host, who=who, phase="join", deadline_s=_JOIN_TIMEOUT_S)
        joins = [learner.join.remote(rank, len(learners), address) for rank, learner in enumerate(learners)]
        for rank, join in enumerate(joins):
            wait_for(join, who=self.who(LEARNER, rank), phase="join", deadline_s=_JOIN_TIMEOUT_S)


def spawn(request: CastRequest, *, name: str | None = None, tell: Tell = lambda text: None) -> Cast:
    """Start every role of the request on the running Ray cluster. `tell` is told of a wait for nodes.

    With `name`, other processes find the actors (`named_actors.attach`), and Ray starts one that died again: only right
    for frozen models, which come back as they were and refuse to score until they have their treatments.

    Raises:
        PlacementError: The cluster cannot hold the roles, or no longer can once they were admitted.
        RoleError: An actor did not start in time, or died.
        AllgoodError: What a role's constructor raised, such as ModelError for a folder without weights.
    """
    parts = request.parts()
    requests = [Request(role, part.resources) for role, part in parts.items()]
    assignments = admit_when_free(requests, wait_for_nodes_s=request.wait_for_nodes_s, tell=tell)
    group, bundles = reserve(assignments, request.timeout_s)
    seats = [Seat(assignment, group, bundle, name) for bundle, assignment in zip(bundles, assignments, strict=True)]
    return _all_or_none(Cast(request, seats, tell, owns_group=True))


def spawn_in_group(request: CastRequest, group: PlacementGroup, *, first_bundle: int) -> Cast:
    """Start every role in bundles of a placement group that is there, one replica each, from `first_bundle` on.

    Closing the cast kills the actors and leaves the group to whoever made it. Raises as `spawn`.
    """
    node_of = ray.util.placement_group_table(group)["bundles_to_node_id"]
    names = {node["NodeID"]: node["NodeManagerAddress"] for node in ray.nodes()}
    replicas = [
        (role, part.resources, i) for role, part in request.parts().items() for i in range(part.resources.replicas)
    ]
    seats = [
        Seat(
            Assignment(
                role=role,
                replica=replica,
                node_id=node_of[bundle],
                node=names[node_of[bundle]],
                accelerators=frozenset(),
                needs=resources,
                threads=resources.threads or 1,  # whoever makes the group has counted who shares its nodes
            ),
            group,
            bundle,
        )
        for bundle, (role, resources, replica) in enumerate(replicas, start=first_bundle)
    ]
    return _all_or_none(Cast(request, seats, tell=lambda text: None, owns_group=False))


def _all_or_none(cast: Cast) -> Cast:
    try:
        cast._meet()
    except BaseException:
        cast.close()
        raise
    return cast


def _seen(assignment: Assignment, place: Mapping[str, Any]) -> Iterator[str]:
    """Accelerator, resources, threads and process of one replica, for the table."""
    yield place["gpu"] or "/".join(sorted(assignment.accelerators)) or "none"
    yield amounts_of(assignment.needs)
    yield str(place["threads"])
    yield f"{place['host']}:{place['pid']}"
