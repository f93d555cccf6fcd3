"""Seats: where the replicas of a cast run. A replica that starts anew takes the seat of the one before it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import ray
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from actors.cluster.finding import finder
from actors.cluster.placement import Assignment, actor_options, bundle_of
from actors.cluster.recipe import Recipe, Spec
from actors.cluster.supervision import Who
from actors.cluster.threads import thread_environment
from actors.learner import Learner
from actors.learning.specs import LearnerSpec
from actors.reference_policy import ReferencePolicySpec, ReferencePolicyWorker
from actors.reward import RewardSpec, RewardWorker
from actors.rollout import RolloutSpec, RolloutWorker
from allgood.errors import PlacementError

NODE_LABEL = "ray.io/node-id"

_CLASSES: dict[type[Spec], type] = {
    RolloutSpec: RolloutWorker,
    RewardSpec: RewardWorker,
    ReferencePolicySpec: ReferencePolicyWorker,
    LearnerSpec: Learner,
}


@dataclass(frozen=True)
class Seat:
    """A bundle of a placement group for one replica. With a `name`, other processes find whoever sits there."""

    assignment: Assignment
    group: PlacementGroup
    bundle: int
    name: str | None = None

    @property
    def who(self) -> Who:
        """The replica's name for messages."""
        return Who(self.assignment.role, self.assignment.replica, self.assignment.node)

    def start(self, recipe: Recipe) -> Any:
        """A fresh actor of the recipe's spec here, told nothing yet; returns its handle without waiting for it."""
        assignment = self.assignment
        assert recipe.spec is not None, "who has seats to start actors in knows what they are made of"
        spec = replace(recipe.spec, threads=assignment.threads)
        environment = thread_environment(assignment.threads)  # before the process imports torch
        actor_class: Any = ray.remote(_CLASSES[type(spec)]).options(
            **actor_options(assignment.needs, environment),
            scheduling_strategy=PlacementGroupSchedulingStrategy(self.group, placement_group_bundle_index=self.bundle),
            name=None if self.name is None else actor_name(self.name, assignment.role, assignment.replica),
            max_restarts=0 if self.name is None else -1,
            max_task_retries=0,
        )
        return actor_class.remote(spec, finder(recipe, str(self.who)))


def actor_name(name: str, role: str, replica: int) -> str:
    """The name of one actor of a named cast."""
    return f"{name}.{role}.{replica}"


def reserve(assignments: Sequence[Assignment], timeout_s: float) -> tuple[PlacementGroup, list[int]]:
    """A placement group on the nodes that were admitted, and the bundle of each assignment.

    Roles that share a GPU by plan share a bundle, which is what ties them to one GPU in Ray; any other assignment has a
    bundle of its own.

    Raises:
        PlacementError: Somebody else took the resources meanwhile.
    """
    keys = [_bundle_key(assignment) or index for index, assignment in enumerate(assignments)]
    bundles = {key: [a for k, a in zip(keys, assignments, strict=True) if k == key] for key in dict.fromkeys(keys)}
    # Each bundle names the node that was admitted: Ray's own choice could differ from the table, and naming the node
    # works for clusters with accelerator labels and with the older accelerator_type resource alike.
    group: PlacementGroup = placement_group(
        [_bundle(members) for members in bundles.values()],
        strategy="PACK",
        bundle_label_selector=[{NODE_LABEL: members[0].node_id} for members in bundles.values()],
    )
    if not group.wait(timeout_s):
        remove_placement_group(group)
        raise PlacementError(
            f"the admitted roles got no resources within {timeout_s:g} s; another run may have taken them: "
            "try again, or look at `ray status`"
        )
    return group, [list(bundles).index(key) for key in keys]


def _bundle_key(assignment: Assignment) -> tuple[str, int] | None:
    """The GPU that the plan gives it, where that matters."""
    return None if assignment.gpu is None else (assignment.node_id, assignment.gpu)


def _bundle(members: Sequence[Assignment]) -> dict[str, float]:
    """Resources of all members; the whole GPU where one is to be apart, as Ray fills a GPU before it takes the next."""
    total: Counter[str] = Counter()
    for assignment in members:
        total.update(bundle_of(assignment.needs))
    if any(assignment.keeps_whole_gpu for assignment in members):
        total["GPU"] = math.ceil(total["GPU"] - 1e-6)
    return dict(total)
