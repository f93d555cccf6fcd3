"""The one place that starts actors: admission, one placement group, every role pinned to its node, all or nothing.

`spawn` first asks `placement.admit` where each replica goes, then reserves exactly that (each bundle names its node),
starts the actors, and waits until each has answered. Who does not start is named, and everything is taken down again.
Ray restarts none but the frozen ones of a named cast: any other would silently hold its first weights again.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import ray
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from actors.cluster.admission import admit_when_free
from actors.cluster.placement import Assignment, Request, Resources
from actors.cluster.supervision import Who, ask_blocking, wait_for
from actors.learner import Learner
from actors.learning.specs import LearnerSpec
from actors.reference_policy import ReferencePolicySpec, ReferencePolicyWorker
from actors.reward import RewardSpec, RewardWorker
from actors.rollout import RolloutSpec, RolloutWorker
from actors.tables import BARS, text_table
from allgood.errors import PlacementError, RoleError

NODE_LABEL = "ray.io/node-id"
_GB = 1e9
_SMALLEST_CPU = 0.001  # Ray refuses a bundle of nothing
_JOIN_TIMEOUT_S = 120.0

Spec = RolloutSpec | RewardSpec | ReferencePolicySpec | LearnerSpec
_CLASSES: dict[type[Spec], type] = {
    RolloutSpec: RolloutWorker,
    RewardSpec: RewardWorker,
    ReferencePolicySpec: ReferencePolicyWorker,
    LearnerSpec: Learner,
}


@dataclass(frozen=True)
class Part:
    """A role's spec and its resources. Every replica gets the same spec."""

    spec: Spec
    resources: Resources = field(default_factory=Resources)


@dataclass(frozen=True)
class CastRequest:
    """The roles to start; absent ones are not. `rewards` is keyed by property."""

    rollout: Part | None = None
    rewards: Mapping[str, Part] = field(default_factory=dict)
    reference_policy: Part | None = None
    learner: Part | None = None
    timeout_s: float = 60.0

    def parts(self) -> dict[str, Part]:
        """Role name to part, in the order of the table: rollout, reward.<property>, reference_policy, learner."""
        named = [("rollout", self.rollout), *((f"reward.{name}", part) for name, part in self.rewards.items())]
        named += [("reference_policy", self.reference_policy), ("learner", self.learner)]
        return {name: part for name, part in named if part is not None}


class Cast:
    """Running actors. A context manager: leaving it kills them and frees their resources."""

    def __init__(
        self, actors: Mapping[str, Sequence[Any]], assignments: Sequence[Assignment], group: PlacementGroup | None
    ) -> None:
        self._actors = {role: list(handles) for role, handles in actors.items()}
        self._assignments = list(assignments)
        self._group = group  # None: it belongs to somebody else
        self._places: dict[tuple[str, int], dict[str, Any]] = {}

    @property
    def rollouts(self) -> list[Any]:
        """Handles of the rollout workers."""
        return self._actors.get("rollout", [])

    @property
    def rewards(self) -> dict[str, list[Any]]:
        """Handles of the reward workers, per property."""
        return {
            role.removeprefix("reward."): handles
            for role, handles in self._actors.items()
            if role.startswith("reward.")
        }

    @property
    def reference_policies(self) -> list[Any]:
        """Handles of the reference policy workers."""
        return self._actors.get("reference_policy", [])

    @property
    def learners(self) -> list[Any]:
        """Handles of the learners, in rank order."""
        return self._actors.get("learner", [])

    def who(self, role: str, replica: int = 0) -> Who:
        """The name of an actor for messages. Roles: rollout, reward.<property>, reference_policy, learner."""
        return next(Who(a.role, a.replica, a.node) for a in self._assignments if (a.role, a.replica) == (role, replica))

    def where(self) -> str:
        """A table of what landed where."""
        rows = [(a.role, str(a.replica), a.node, *_seen(a, self._places[a.role, a.replica])) for a in self._assignments]
        header = ("role", "replica", "node", "accelerator", "resources", "process")
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
        if handles and self._group is not None:
            remove_placement_group(self._group)

    def __enter__(self) -> Cast:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _meet(self, timeout_s: float) -> None:
        """Wait until every actor has answered, then let the learners form their group."""
        deadline = time.monotonic() + timeout_s
        asked = [(a, self._actors[a.role][a.replica].location.remote()) for a in self._assignments]
        problems: list[Exception] = []
        for assignment, reference in asked:
            who = Who(assignment.role, assignment.replica, assignment.node)
            try:
                place = wait_for(reference, who=who, phase="start", deadline_s=max(0.01, deadline - time.monotonic()))
            except RoleError as error:
                problems.append(error)
            else:
                self._places[assignment.role, assignment.replica] = {
                    **place,
                    "node_id": assignment.node_id,
                    "node": assignment.node,
                }
        if len(problems) == 1:
            raise problems[0]
        if problems:
            raise RoleError(
                f"{len(problems)} of {len(asked)} actors did not start: "
                + "; ".join(str(problem) for problem in problems)
            )
        if len(self.learners) > 1:
            self._join_learners()

    def _join_learners(self) -> None:
        host = next(a.node for a in self._assignments if a.role == "learner" and a.replica == 0)
        who, open_group = self.who("learner"), self.learners[0].open_group
        address = ask_blocking(open_group, host, who=who, phase="join", deadline_s=_JOIN_TIMEOUT_S)
        joins = [learner.join.remote(rank, len(self.learners), address) for rank, learner in enumerate(self.learners)]
        for rank, join in enumerate(joins):
            wait_for(join, who=self.who("learner", rank), phase="join", deadline_s=_JOIN_TIMEOUT_S)


def spawn(request: CastRequest, *, name: str | None = None) -> Cast:
    """Start every role of the request on the running Ray cluster.

    With `name`, other processes find the actors (`named_actors.attach`), and Ray starts one that died again: only right
    for frozen models, which come back as they were and refuse to score until they have their treatments.

    Raises:
        PlacementError: The cluster cannot hold the roles, or no longer can once they were admitted.
        RoleError: An actor did not start in time, or died.
        AllgoodError: What a role's constructor raised, such as ModelError for a folder without weights.
    """
    parts = request.parts()
    assignments = admit_when_free([Request(role, part.resources) for role, part in parts.items()])
    group = _reserve(assignments, request.timeout_s)
    return _start_all(request, assignments, group, name=name)


def spawn_in_group(request: CastRequest, group: PlacementGroup, *, first_bundle: int) -> Cast:
    """Start every role in bundles of a placement group that is there, one replica each, from `first_bundle` on.

    Closing the cast kills the actors and leaves the group to whoever made it. Raises as `spawn`.
    """
    node_of = ray.util.placement_group_table(group)["bundles_to_node_id"]
    names = {node["NodeID"]: node["NodeManagerAddress"] for node in ray.nodes()}
    replicas = [
        (role, part.resources, i) for role, part in request.parts().items() for i in range(part.resources.replicas)
    ]
    assignments = [
        Assignment(
            role=role,
            replica=replica,
            node_id=node_of[bundle],
            node=names[node_of[bundle]],
            accelerators=frozenset(),
            cpus=resources.cpus,
            gpus=resources.gpus,
            memory_gb=resources.memory_gb,
        )
        for bundle, (role, resources, replica) in enumerate(replicas, start=first_bundle)
    ]
    return _start_all(request, assignments, group, first_bundle=first_bundle)


def _start_all(
    request: CastRequest,
    assignments: Sequence[Assignment],
    group: PlacementGroup,
    *,
    first_bundle: int | None = None,
    name: str | None = None,
) -> Cast:
    """One actor per assignment, all answering, or none. With `first_bundle` the group is somebody else's."""
    parts = request.parts()
    actors: dict[str, list[Any]] = {role: [] for role in parts}
    for bundle, assignment in enumerate(assignments, start=first_bundle or 0):
        actors[assignment.role].append(_start(parts[assignment.role].spec, assignment, group, bundle, name))
    cast = Cast(actors, assignments, group if first_bundle is None else None)
    try:
        cast._meet(request.timeout_s)
    except BaseException:
        cast.close()
        raise
    return cast


def _reserve(assignments: Sequence[Assignment], timeout_s: float) -> PlacementGroup:
    # Each bundle names the node that was admitted: Ray's own choice could differ from the table, and naming the node
    # works for clusters with accelerator labels and with the older accelerator_type resource alike.
    group: PlacementGroup = placement_group(
        [_bundle(assignment) for assignment in assignments],
        strategy="PACK",
        bundle_label_selector=[{NODE_LABEL: assignment.node_id} for assignment in assignments],
    )
    if not group.wait(timeout_s):
        remove_placement_group(group)
        raise PlacementError(
            f"the admitted roles got no resources within {timeout_s:g} s; another run may have taken them: "
            "try again, or look at `ray status`"
        )
    return group


def _bundle(assignment: Assignment) -> dict[str, float]:
    bundle = {"CPU": max(assignment.cpus, _SMALLEST_CPU)}
    if assignment.gpus:
        bundle["GPU"] = assignment.gpus
    if assignment.memory_gb:
        bundle["memory"] = int(assignment.memory_gb * _GB)
    return bundle


def _start(spec: Spec, assignment: Assignment, group: PlacementGroup, bundle: int, name: str | None) -> Any:
    # Without GPUs of its own a Ray actor sees all of the node's, and would use them.
    hide_gpus = {} if assignment.gpus else {"runtime_env": {"env_vars": {"CUDA_VISIBLE_DEVICES": ""}}}
    actor_class: Any = ray.remote(_CLASSES[type(spec)]).options(
        num_cpus=assignment.cpus,
        num_gpus=assignment.gpus,
        memory=int((assignment.memory_gb or 0.0) * _GB) or None,
        scheduling_strategy=PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=bundle),
        name=None if name is None else actor_name(name, assignment.role, assignment.replica),
        max_restarts=0 if name is None else -1,
        max_task_retries=0,
        **hide_gpus,
    )
    return actor_class.remote(spec)


def actor_name(name: str, role: str, replica: int) -> str:
    """The name of one actor of a named cast."""
    return f"{name}.{role}.{replica}"


def _seen(assignment: Assignment, place: Mapping[str, Any]) -> Iterator[str]:
    """Accelerator, resources and process of one replica, for the table."""
    yield place["gpu"] or "/".join(sorted(assignment.accelerators)) or "none"
    parts = [f"{assignment.cpus:g} CPU"] + [f"{assignment.gpus:g} GPU"] * bool(assignment.gpus)
    yield " + ".join(parts + ([f"{assignment.memory_gb:g} GB"] if assignment.memory_gb else []))
    yield f"{place['host']}:{place['pid']}"
