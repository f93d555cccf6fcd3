"""Recipes: what makes a replica of a role equal to the others, so that one can start anew.

A fresh actor knows its spec only. The treatments that lanes have set and the weight version that was published are told
to it again, in the order of `instructions`; until then it refuses to score or generate.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from actors.learning.specs import LearnerSpec
from actors.reference_policy import ReferencePolicySpec
from actors.reward import RewardSpec
from actors.rollout import RolloutSpec
from actors.sources import Find, as_named
from actors.weights.publication import Notice
from allgood.treatment import Treatment

Spec = RolloutSpec | RewardSpec | ReferencePolicySpec | LearnerSpec


@dataclass(frozen=True)
class Recipe:
    """What a role's replicas were made of and told. A learner's own progress is not in it: that is in checkpoints.

    `spec` is None where another process starts the replicas. `notice` is that of the weight version which rollout
    actors hold, None for version 0, the model of their spec. `find` is how they find models on their nodes.
    """

    spec: Spec | None = None
    treatments: Mapping[str, Treatment] = field(default_factory=dict)  # by key
    notice: Notice | None = None
    find: Find = as_named

    def with_treatment(self, treatment: Treatment) -> Recipe:
        """The recipe after a treatment was added, or replaced under its key."""
        return replace(self, treatments={**self.treatments, treatment.key: treatment})

    def with_weights(self, notice: Notice) -> Recipe:
        """The recipe after another weight version was published."""
        return replace(self, notice=notice)

    def instructions(self, actor: Any) -> Iterator[tuple[Any, Any, str]]:
        """What a fresh actor is to be told: method handle, argument, and what is being done."""
        for treatment in self.treatments.values():
            yield actor.set_treatment, treatment, "set treatment"
        if self.notice is not None:
            yield actor.set_weights, self.notice, "set weights"
