"""Placement as plain values: what a role asks for, what a node has, and where a replica goes.

`admit` puts requests on nodes, and says why it cannot; nothing here or there knows Ray.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, ConfigDict, Field

from allgood.errors import PlacementError

ACCELERATOR_LABEL = "ray.io/accelerator-type"
ACCELERATOR_RESOURCE = "accelerator_type:"  # prefix of the older custom resource

_SMALLEST_CPU = 0.001  # Ray refuses a bundle of nothing
_GB = 1e9


def _readable(expression: str) -> str:
    try:
        label_matcher(expression)
    except PlacementError as error:
        raise ValueError(str(error)) from error
    return expression


def _whole_above_one(gpus: float) -> float:
    if gpus > 1 and gpus != round(gpus):
        raise ValueError(f"{gpus:g} GPUs cannot be given; a fraction shares one GPU, above 1 only whole numbers")
    return gpus


Accelerator = Annotated[str, AfterValidator(_readable)]
Gpus = Annotated[float, Field(ge=0), AfterValidator(_whole_above_one)]
Amount = Annotated[float, Field(gt=0)]


@dataclass(frozen=True)
class Resources:
    """Resources of one role. Each replica is one Ray actor with these resources."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", allow_inf_nan=False)  # as `placement`

    replicas: Annotated[int, Field(ge=1)] = 1
    cpus: Annotated[float, Field(ge=0, description="CPUs reserved per replica (accounting, as in Ray)")] = 1.0
    gpus: Annotated[
        Gpus, Field(description="GPUs per replica; fractions share one GPU, above 1 only whole numbers")
    ] = 0.0
    memory_gb: Annotated[float | None, Field(gt=0, description="memory reserved per replica, in GB")] = None
    accelerator: Annotated[
        Accelerator | None,
        Field(description="accelerator type: 'H100', '!T4', 'in(T4,L4)' or '!in(T4,L4)'; absent means any node"),
    ] = None
    threads: Annotated[
        int | None, Field(ge=1, description="torch threads per replica; absent: as the run's `threads` says")
    ] = None
    labels: Annotated[
        Mapping[str, Accelerator],
        Field(description="labels that its nodes have, such as {zone: 'in(a,b)'}; values are written as `accelerator`"),
    ] = field(default_factory=dict)
    resources: Annotated[
        Mapping[str, Amount],
        Field(description="custom resources of the cluster that each replica takes, such as {reward_pool: 1}"),
    ] = field(default_factory=dict)
    shares_gpu_with: Annotated[
        str | None,
        Field(description="role on whose GPU each replica runs, such as reward.helpful; both take a fraction"),
    ] = None
    apart_from: Annotated[
        tuple[str, ...], Field(description="roles that never run on the same GPU; the rest of that GPU stays reserved")
    ] = ()


@dataclass(frozen=True)
class Request:
    """What a role asks for."""

    role: str
    resources: Resources = Resources()


@dataclass(frozen=True)
class Node:
    """A node and what is free on it.

    Attributes:
        node_id, name: For Ray, and for people.
        cpus: Free CPUs as Ray counts them.
        gpus: The free share of each of its GPUs, 1.0 where nobody uses it.
        memory_gb: Free memory.
        accelerators: Types of its GPUs, by whichever of the two ways the cluster tells them.
        labels: All of its labels.
        resources: What is free of custom resources.
        cores: Processor cores that its processes really have; Ray's CPUs may be only numbers.
    """

    node_id: str
    name: str
    cpus: float
    gpus: tuple[float, ...] = ()
    memory_gb: float = 0.0
    accelerators: frozenset[str] = frozenset()
    labels: Mapping[str, str] = field(default_factory=dict)
    resources: Mapping[str, float] = field(default_factory=dict)
    cores: int = 1

    def matches(self, needs: Resources) -> bool:
        """Whether its accelerators and labels are what a role wants, whatever is free."""
        return label_matcher(needs.accelerator)(self.accelerators) and all(
            label_matcher(expression)(frozenset([self.labels[key]] if key in self.labels else []))
            for key, expression in needs.labels.items()
        )


@dataclass(frozen=True)
class Assignment:
    """One replica on one node.

    Attributes:
        role, replica: Who.
        node_id, node, accelerators: Where.
        needs: What is reserved for it.
        threads: Torch threads of its process.
        gpu: Which of the node's GPUs was planned, where roles are to share one or to stay apart; None: Ray chooses.
        keeps_whole_gpu: Whether the rest of that GPU is reserved too, so that a role that is to be apart cannot get it.
    """

    role: str
    replica: int
    node_id: str
    node: str
    accelerators: frozenset[str]
    needs: Resources
    threads: int
    gpu: int | None = None
    keeps_whole_gpu: bool = False


def bundle_of(needs: Resources) -> dict[str, float]:
    """What Ray reserves for one replica."""
    bundle = {"CPU": max(needs.cpus, _SMALLEST_CPU), **needs.resources}
    if needs.gpus:
        bundle["GPU"] = needs.gpus
    if needs.memory_gb:
        bundle["memory"] = int(needs.memory_gb * _GB)
    return bundle


def actor_options(needs: Resources, environment: Mapping[str, str] = MappingProxyType({})) -> dict[str, Any]:
    """What Ray is told of the resources and the environment of one replica.

    Without GPUs of its own a Ray actor sees all of the node's, and would use them; here it sees none.
    """
    hidden = {} if needs.gpus else {"CUDA_VISIBLE_DEVICES": ""}
    variables = {**environment, **hidden}
    options: dict[str, Any] = {"num_cpus": needs.cpus, "num_gpus": needs.gpus}
    if needs.memory_gb:
        options["memory"] = int(needs.memory_gb * _GB)
    if needs.resources:
        options["resources"] = dict(needs.resources)
    if variables:
        options["runtime_env"] = {"env_vars": variables}
    return options


def amounts_of(needs: Resources) -> str:
    """What one replica takes, in words.

    >>> amounts_of(Resources(gpus=0.5, memory_gb=4, resources={"pool": 1}))
    '1 CPU + 0.5 GPU + 4 GB + 1 pool'
    """
    parts = [f"{needs.cpus:g} CPU"] + [f"{needs.gpus:g} GPU"] * bool(needs.gpus)
    parts += [f"{needs.memory_gb:g} GB"] if needs.memory_gb else []
    return " + ".join([*parts, *(f"{amount:g} {name}" for name, amount in needs.resources.items())])


def selector_of(needs: Resources) -> dict[str, str]:
    """The conditions on a replica's node as Ray's label selector, for clusters whose accelerators are labelled."""
    return {**needs.labels, **({ACCELERATOR_LABEL: needs.accelerator} if needs.accelerator else {})}


def label_matcher(expression: str | None) -> Callable[[frozenset[str]], bool]:
    """Compile "H100", "!T4", "in(T4,L4)" or "!in(T4,L4)" to a test of a node's accelerator types, or of one label.

    As with Ray's label selectors, a node without any accelerator or label passes a negative expression.
    """
    if expression is None:
        return lambda values: True
    listed = re.fullmatch(r"(!?)in\(([^()!]+)\)", expression.strip())
    single = re.fullmatch(r"(!?)([\w./+-]+)", expression.strip())
    if listed:
        negative, names = listed[1] == "!", frozenset(name.strip() for name in listed[2].split(","))
    elif single:
        negative, names = single[1] == "!", frozenset([single[2]])
    else:
        raise PlacementError(
            f"accelerator {expression!r} cannot be read; write 'H100', '!T4', 'in(T4,L4)' or '!in(T4,L4)'"
        )
    return lambda values: bool(values & names) != negative
