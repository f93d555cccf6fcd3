"""Where the processes of a role run: how many, and with which CPUs, GPUs, memory and accelerator type."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from actors.cluster.placement import accelerator_matcher
from allgood.errors import PlacementError
from pipelines.config.base import StrictModel


def _readable(expression: str) -> str:
    try:
        accelerator_matcher(expression)
    except PlacementError as error:
        raise ValueError(str(error)) from error
    return expression


def _whole_above_one(gpus: float) -> float:
    if gpus > 1 and gpus != round(gpus):
        raise ValueError(f"{gpus:g} GPUs cannot be given; a fraction shares one GPU, above 1 only whole numbers")
    return gpus


Accelerator = Annotated[str, AfterValidator(_readable)]
Gpus = Annotated[float, Field(ge=0), AfterValidator(_whole_above_one)]


class Placement(StrictModel):
    """Resources of one role. Each replica is one Ray actor with these resources."""

    replicas: int = Field(1, ge=1)
    cpus: float = Field(1.0, ge=0, description="CPUs reserved per replica (accounting, as in Ray)")
    gpus: Gpus = Field(0.0, description="GPUs per replica; fractions share one GPU, above 1 only whole numbers")
    memory_gb: float | None = Field(None, gt=0, description="memory reserved per replica, in GB")
    accelerator: Accelerator | None = Field(
        None, description="accelerator type: 'H100', '!T4', 'in(T4,L4)' or '!in(T4,L4)'; absent means any node"
    )


class PlacementConfig(StrictModel):
    """Placement of every role that is not a reward model (those carry their own), and how long to wait for actors."""

    rollout: Placement = Placement()
    reference_policy: Placement = Placement()
    learner: Placement = Placement()
    deadline_s: float = Field(1800.0, gt=0, description="longest wait for one answer of one actor, in seconds")
    timeout_s: float = Field(180.0, gt=0, description="longest wait for the admitted actors to start, in seconds")
