"""Threads of a run: worked out once, kept, and shared by every stage."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from actors.cluster.placement import Node, Resources
from pipelines.cast import threads as module
from pipelines.cast.request import role_resources
from pipelines.cast.threads import recorded_threads, with_run_threads, with_threads
from pipelines.config.run import RunConfig
from tests.pipelines.tiny_run import tiny_config

ROLES = ["rollout", "reward.short", "reward.vowels", "reference_policy", "learner"]


@pytest.fixture
def config(tmp_path: Path) -> RunConfig:
    return tiny_config(tmp_path)


def on_a_node_with(cores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "cluster_capacity", lambda: [Node("n", "n", cpus=cores, memory_gb=9, cores=cores)])
    monkeypatch.setattr(module, "max_threads", lambda: None)


def threads_of(config: RunConfig) -> dict[str, int | None]:
    return {role: needs.threads for role, needs in role_resources(config).items()}


def test_the_roles_of_a_run_share_the_cores_of_their_node(config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    on_a_node_with(16, monkeypatch)
    found = with_run_threads(config)
    assert threads_of(found) == dict.fromkeys(ROLES, 3)  # 16 // 5
    assert json.loads((config.folder / "threads.json").read_text()) == dict.fromkeys(ROLES, 3)


def test_a_run_keeps_its_threads_on_other_nodes(config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    on_a_node_with(16, monkeypatch)
    first = with_run_threads(config)
    on_a_node_with(2, monkeypatch)
    assert with_run_threads(config) == first
    assert recorded_threads(config) == dict.fromkeys(ROLES, 3)


def test_lanes_have_rollouts_and_learners_of_their_own(config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    on_a_node_with(16, monkeypatch)
    assert set(threads_of(with_run_threads(config, num_lanes=2)).values()) == {2}  # 16 // (2 * 2 + 3)


def test_what_a_run_file_says_wins(config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    on_a_node_with(16, monkeypatch)
    placement = config.placement.model_copy(update={"learner": Resources(cpus=0.1, threads=8)})
    found = with_run_threads(config.model_copy(update={"placement": placement}))
    assert threads_of(found) == {**dict.fromkeys(ROLES, 2), "learner": 8}  # (16 - 8) // 4
    fixed = config.model_copy(update={"threads": 5})
    assert with_run_threads(fixed) is fixed
    assert set(threads_of(fixed).values()) == {5}


def test_a_run_on_a_base_has_the_threads_of_the_base(config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    on_a_node_with(16, monkeypatch)
    with_run_threads(config.model_copy(update={"base": None, "name": "base", "output_dir": config.base_folder.parent}))
    on_a_node_with(2, monkeypatch)
    assert set(threads_of(with_run_threads(config)).values()) == {3}


def test_nothing_is_decided_where_an_alignment_has_no_room(config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    on_a_node_with(2, monkeypatch)
    placement = config.placement.model_copy(update={"learner": Resources(gpus=1)})
    large = config.model_copy(update={"placement": placement})
    assert set(threads_of(with_run_threads(large)).values()) == {None}
    assert recorded_threads(large) == {}


def test_threads_of_a_checkpoint_fill_what_is_open(config: RunConfig) -> None:
    assert threads_of(with_threads(config, {"rollout": 4, "reward.vowels": 2})) == {
        **dict.fromkeys(ROLES),
        "rollout": 4,
        "reward.vowels": 2,
    }
