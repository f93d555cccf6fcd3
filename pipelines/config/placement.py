"""Where the processes of a role run: how many, and with which CPUs, GPUs, memory and accelerator type."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from actors.cluster.limits import Limits
from actors.cluster.placement import Resources
from actors.weights.transports import ObjectStore, WeightTransport
from pipelines.config.base import StrictModel


class PlacementConfig(StrictModel):
    """Placement of every role that is not a reward model (those carry their own), how long to wait for actors, and what
    is done about one that is lost. A run may be resumed with other values.
    """

    rollout: Resources = Resources()
    reference_policy: Resources = Resources()
    learner: Resources = Resources()
    learners: Literal["replicate", "shard"] = Field(
        "replicate",
        description="what each of several learners holds: everything, or its rows of every parameter (FSDP2), for a "
        "policy that is too large for one",
    )
    weights: Annotated[
        WeightTransport,
        Field(discriminator="kind", description="how a new version gets from the learner to the rollout actors"),
    ] = ObjectStore()
    deadline_s: float = Field(1800.0, gt=0, description="longest wait for one answer of one actor, in seconds")
    timeout_s: float = Field(180.0, gt=0, description="longest wait for the admitted actors to start, in seconds")
    grace_s: float = Field(
        20.0, ge=0, description="longest wait for the running update after SIGTERM, in seconds; closing takes some more"
    )
    max_retries: int = Field(
        Limits.max_retries, ge=0, description="times that a call is made again whose actor died or did not answer"
    )
    max_restarts: int = Field(
        Limits.max_restarts, ge=0, description="times that actors of one role are started anew in one command"
    )
    wait_for_nodes_s: float = Field(
        0.0,
        ge=0,
        description="longest wait for nodes that an autoscaler adds, in seconds; 0: refuse what does not fit now",
    )
