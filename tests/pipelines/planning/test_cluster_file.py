"""Files that describe a cluster: what they mean, and one sentence about what is wrong in them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from actors.cluster.placement import ACCELERATOR_LABEL, Node
from allgood.errors import ConfigError
from pipelines.planning.cluster_file import cluster_of, read_cluster


def written(folder: Path, text: str) -> Path:
    path = folder / "cluster.yaml"
    path.write_text(text)
    return path


def test_kinds_become_nodes_with_labels_cores_and_the_memory_of_their_gpus(tmp_path: Path) -> None:
    text = """
    nodes:
      - {name: h100, count: 2, cpus: 96, gpus: 8, accelerator: H100, memory_gb: 900}
      - {name: own, cpus: 2.5, gpus: 1, memory_gb: 8, gpu_memory_gb: 11, labels: {zone: a}, resources: {pool: 2}}
    """
    found = read_cluster(written(tmp_path, text))
    assert [node.name for node in found.nodes] == ["h100-1", "h100-2", "own"]
    first, own = found.nodes[0], found.nodes[2]
    assert (first.cpus, first.gpus, first.memory_gb, first.cores) == (96, (1.0,) * 8, 900, 96)
    assert first.accelerators == {"H100"}
    assert first.labels == {ACCELERATOR_LABEL: "H100"}
    assert (own.cores, own.labels, own.resources) == (2, {"zone": "a"}, {"pool": 2})
    assert found.gpu_memory_gb == {"h100-1": 80, "h100-2": 80, "own": 11}


def test_the_memory_of_an_unknown_type_is_not_guessed() -> None:
    nodes = [Node(name, name, 1, (1.0,), accelerators=frozenset([name])) for name in ("T4", "MI300X")]
    assert cluster_of(nodes).gpu_memory_gb == {"T4": 16}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("nodes: []", "`nodes` is []"),
        ("nodes: [{name: a, cpus: 1}]", "the key `nodes.0.memory_gb` is missing"),
        (
            "nodes: [{name: a, cpus: 1, memory_gb: 1, gpu: 2}]",
            "unknown key `nodes.0.gpu`; a kind of nodes may have name",
        ),
        ("nodes: [{name: a, cpus: 0, memory_gb: 1}]", "`nodes.0.cpus` is 0: input should be greater than 0"),
        ("nodes: [{name: a, cpus: 1, memory_gb: 1, resources: {x: 0}}]", "amounts of custom resources must be above 0"),
        ("hosts: 3", "the key `nodes` is missing"),
        ("- a", "the top level must be `key: value` lines"),
        ("nodes: [{name: a, cpus: 1, memory_gb: 1}, {name: a, cpus: 1, memory_gb: 1}]", "two nodes are called 'a'"),
        ("nodes: [{name: a, cpus: 1, memory_gb: 1, gpus: 1, accelerator: 'in(a,b)'}]", "`nodes.0.accelerator` is"),
    ],
)
def test_what_is_wrong_is_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(sentence)) as refusal:
        read_cluster(written(tmp_path, text))
    assert "\n" not in str(refusal.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no config file .*absent\.yaml"):
        read_cluster(tmp_path / "absent.yaml")
