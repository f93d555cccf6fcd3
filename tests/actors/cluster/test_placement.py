"""Placement as values: which nodes match, and what Ray is told."""

from __future__ import annotations

import pytest

from actors.cluster.placement import Node, Resources, bundle_of, label_matcher, selector_of


@pytest.mark.parametrize(
    ("expression", "matching"),
    [
        (None, {"L4", "T4", "H100", ""}),
        ("H100", {"H100"}),
        ("!T4", {"L4", "H100", ""}),
        ("in(T4,L4)", {"T4", "L4"}),
        ("in(T4, L4)", {"T4", "L4"}),
        ("!in(T4,L4)", {"H100", ""}),
    ],
)
def test_accelerator_expressions_match_as_ray_labels_do(expression: str | None, matching: set[str]) -> None:
    matches = label_matcher(expression)
    assert {name for name in ("L4", "T4", "H100", "") if matches(frozenset([name] if name else []))} == matching


def test_a_node_matches_by_accelerator_and_by_every_label() -> None:
    node = Node("n", "n", cpus=1, accelerators=frozenset(["T4"]), labels={"zone": "a"})
    assert node.matches(Resources(accelerator="T4", labels={"zone": "in(a,b)"}))
    assert not node.matches(Resources(accelerator="T4", labels={"zone": "!a"}))
    assert not node.matches(Resources(labels={"pool": "x"}))
    assert node.matches(Resources(labels={"pool": "!x"}))  # as in Ray, what is not there is not x


def test_what_ray_is_told_of_a_role() -> None:
    needs = Resources(
        cpus=0, gpus=0.5, memory_gb=2, accelerator="!T4", labels={"zone": "a"}, resources={"reward_pool": 1}
    )
    assert bundle_of(needs) == {"CPU": 0.001, "GPU": 0.5, "memory": 2_000_000_000, "reward_pool": 1}
    assert selector_of(needs) == {"zone": "a", "ray.io/accelerator-type": "!T4"}
