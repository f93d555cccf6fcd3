"""A cluster as a file describes it, or as Ray shows it: what a plan is made for.

The file is YAML with one entry per kind of node:

    nodes:
      - {name: h100, count: 2, cpus: 96, gpus: 8, accelerator: H100, memory_gb: 900}
      - {name: l4, count: 4, cpus: 16, gpus: 1, accelerator: L4, memory_gb: 60, labels: {zone: a}}
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field, ValidationError, field_validator

from actors.cluster.placement import ACCELERATOR_LABEL, Node
from allgood.errors import ConfigError
from pipelines.config.base import StrictModel
from pipelines.config.loading import read_yaml

# GB of one GPU by its data sheet, by the names that Ray gives the types; the smallest where a type has several sizes.
GPU_MEMORY_GB: Mapping[str, float] = {
    "P100": 16,
    "V100": 16,
    "T4": 16,
    "L4": 24,
    "A10G": 24,
    "L40S": 48,
    "A100": 40,
    "A100-40G": 40,
    "A100-80G": 80,
    "H100": 80,
    "H20": 96,
    "H200": 141,
    "B200": 180,
}


@dataclass(frozen=True)
class Cluster:
    """Nodes as if nobody used them, and the memory of each of a node's GPUs by node id, in GB, where it is known."""

    nodes: Sequence[Node]
    gpu_memory_gb: Mapping[str, float]


class NodeKind(StrictModel):
    """Nodes that are alike."""

    name: str = Field(min_length=1, description="in the plan; with a number behind it where there are several")
    count: int = Field(1, ge=1)
    cpus: float = Field(gt=0, description="CPUs that Ray may give away on each, and cores that its processes share")
    gpus: int = Field(0, ge=0)
    accelerator: str | None = Field(None, pattern=r"^[\w./+-]+$", description="type of its GPUs, such as H100")
    memory_gb: float = Field(gt=0, description="main memory that Ray may give away on each")
    gpu_memory_gb: float | None = Field(None, gt=0, description="of one GPU; absent: by the data sheet of its type")
    labels: dict[str, str] = {}
    resources: dict[str, float] = {}

    @field_validator("resources")
    @classmethod
    def _amounts(cls, resources: dict[str, float]) -> dict[str, float]:
        if any(amount <= 0 for amount in resources.values()):
            raise ValueError("amounts of custom resources must be above 0")
        return resources

    def nodes(self) -> list[Node]:
        """The nodes one by one."""
        labels = {**self.labels, **({ACCELERATOR_LABEL: self.accelerator} if self.accelerator else {})}
        return [
            Node(
                node_id=name,
                name=name,
                cpus=self.cpus,
                gpus=(1.0,) * self.gpus,
                memory_gb=self.memory_gb,
                accelerators=frozenset([self.accelerator] if self.accelerator else []),
                labels=labels,
                resources=self.resources,
                cores=max(1, int(self.cpus)),
            )
            for name in ([self.name] if self.count == 1 else [f"{self.name}-{i}" for i in range(1, self.count + 1)])
        ]


class ClusterFile(StrictModel):
    """What a cluster file may hold."""

    nodes: list[NodeKind] = Field(min_length=1)


def read_cluster(path: Path) -> Cluster:
    """The cluster that a file describes.

    Raises:
        ConfigError: The file cannot be read, or a key is missing, unknown or wrong; one sentence names the first.
    """
    raw = read_yaml(path)
    try:
        file = ClusterFile.model_validate(raw)
    except ValidationError as error:
        raise ConfigError(f"{path}: {_sentence(error)}; docs/how-to/clusters.md shows a cluster file") from None
    twice = next(
        (
            name
            for name, number in Counter(node.name for kind in file.nodes for node in kind.nodes()).items()
            if number > 1
        ),
        None,
    )
    if twice is not None:
        raise ConfigError(f"{path}: two nodes are called {twice!r}; give each kind a name of its own, or a `count`")
    given = {node.node_id: kind.gpu_memory_gb for kind in file.nodes if kind.gpu_memory_gb for node in kind.nodes()}
    cluster = cluster_of([node for kind in file.nodes for node in kind.nodes()])
    return Cluster(cluster.nodes, {**cluster.gpu_memory_gb, **given})


def cluster_of(nodes: Sequence[Node]) -> Cluster:
    """The cluster of these nodes, with the memory of GPUs whose type is in `GPU_MEMORY_GB`."""
    known = {node.node_id: [GPU_MEMORY_GB[name] for name in node.accelerators & GPU_MEMORY_GB.keys()] for node in nodes}
    return Cluster(nodes, {node_id: min(sizes) for node_id, sizes in known.items() if sizes})


def _sentence(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    key = ".".join(str(step) for step in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"unknown key `{key}`; a kind of nodes may have {', '.join(NodeKind.model_fields)}"
    if first["type"] == "missing":
        return f"the key `{key}` is missing"
    if first["type"] == "value_error":
        return f"`{key}`: {first['ctx']['error']}"
    return f"`{key}` is {first['input']!r}: {first['msg'].lower()}"
