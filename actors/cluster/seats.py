"""Seats: where the replicas of a cast run. A replica that starts anew takes the seat of the one before it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from actors.cluster.placement import Assignment
from actors.cluster.recipe import Recipe, Spec
from actors.cluster.supervision import Who
from actors.learner import Learner
from actors.learning.specs import LearnerSpec
from actors.reference_policy import ReferencePolicySpec, ReferencePolicyWorker
from actors.reward import RewardSpec, RewardWorker
from actors.rollout import RolloutSpec, RolloutWorker
from allgood.errors import PlacementError

NODE_LABEL = "ray.io/node-id"
_GB = 1e9
_SMALLEST_CPU = 0.001  # Ray refuses a bundle of nothing

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
        assignment, spec = self.assignment, recipe.spec
        assert spec is not None, "who has seats to start actors in knows what they are made of"
        # Without GPUs of its own a Ray actor sees all of the node's, and would use them.
        hide_gpus = {} if assignment.gpus else {"runtime_env": {"env_vars": {"CUDA_VISIBLE_DEVICES": ""}}}
        actor_class: Any = ray.remote(_CLASSES[type(spec)]).options(
            num_cpus=assignment.cpus,
            num_gpus=assignment.gpus,
            memory=int((assignment.memory_gb or 0.0) * _GB) or None,
            scheduling_strategy=PlacementGroupSchedulingStrategy(self.group, placement_group_bundle_index=self.bundle),
            name=None if self.name is None else actor_name(self.name, assignment.role, assignment.replica),
            max_restarts=0 if self.name is None else -1,
            max_task_retries=0,
            **hide_gpus,
        )
        return actor_class.remote(spec)


def actor_name(name: str, role: str, replica: int) -> str:
    """The name of one actor of a named cast."""
    return f"{name}.{role}.{replica}"


def reserve(assignments: Sequence[Assignment], timeout_s: float) -> PlacementGroup:
    """A placement group with one bundle per assignment, each on the node that was admitted.

    Raises:
        PlacementError: Somebody else took the resources meanwhile.
    """
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
