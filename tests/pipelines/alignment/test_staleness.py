"""Alignments whose rollout actors are behind the learner, on real actors: versions, repetition, resumption, deaths."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from actors.cluster.cast import Cast
from allgood.errors import ConfigError
from pipelines.alignment.align import resume, run_align
from pipelines.config.contradictions import refuse_contradictions
from pipelines.config.run import RunConfig
from pipelines.references.build import build_references
from tests.faults.kills import Kill, pid_of, watch
from tests.pipelines.tiny_run import assert_same_run, logged_rows, make_base, tiny_config


def stale(config: RunConfig, name: str, staleness: int) -> RunConfig:
    align = config.align.model_copy(update={"staleness": staleness})
    return config.model_copy(update={"name": name, "align": align})


@pytest.fixture(scope="module")
def base(tiny_cast: Cast, tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    config = make_base(tmp_path_factory.mktemp("stale"))
    build_references(config, tiny_cast)
    return config


@pytest.fixture(scope="module")
def whole(base: RunConfig, tiny_cast: Cast) -> RunConfig:
    """One step behind, and nothing happens to it."""
    config = stale(base, "whole", 1)
    run_align(config, tiny_cast)
    return config


def test_every_step_has_the_version_before_and_weights_that_correct_for_it(whole: RunConfig) -> None:
    logged = logged_rows(whole)
    assert [row["step"] for row in logged] == [1, 2, 3, 4, 5, 6]
    assert [row["rollout_version"] for row in logged] == [0, 0, 1, 2, 3, 4]
    assert [row["staleness"] for row in logged] == [0, 1, 1, 1, 1, 1]
    assert [row["policy_version"] for row in logged] == [1, 2, 3, 4, 5, 6]


def test_a_run_that_is_resumed_between_versions_ends_with_the_same_bits(whole: RunConfig, tiny_cast: Cast) -> None:
    again = stale(whole, "again", 1)
    run_align(again, tiny_cast)
    assert_same_run(again, whole)
    checkpoints = again.folder / "checkpoints"
    for later in ("step_000006", "step_000005"):
        shutil.rmtree(checkpoints / later, ignore_errors=True)
    shutil.rmtree(again.folder / "model")
    ahead = checkpoints / "step_000004" / "ahead"
    assert sorted(path.name for path in ahead.iterdir()) == ["step_000004.json", "step_000004.safetensors"]
    resume(again.folder, tiny_cast)
    assert_same_run(again, whole)


@pytest.mark.faults
def test_actors_and_learners_that_are_killed_during_overlap_change_no_bits(whole: RunConfig, tiny_cast: Cast) -> None:
    killed = stale(whole, "killed", 1)
    victims = {role: pid_of(tiny_cast, role) for role in ("rollout", "learner")}
    run_align(killed, tiny_cast, watch=watch(tiny_cast, [Kill(1, "rollout", "busy"), Kill(5, "learner", "busy")]))
    assert_same_run(killed, whole)
    assert all(pid_of(tiny_cast, role) != pid for role, pid in victims.items())


@pytest.mark.slow
def test_two_steps_behind_repeats_to_the_same_bits(base: RunConfig, tiny_cast: Cast) -> None:
    first, second = stale(base, "two", 2), stale(base, "two-again", 2)
    for config in (first, second):
        run_align(config, tiny_cast)
    assert [row["rollout_version"] for row in logged_rows(first)] == [0, 0, 0, 1, 2, 3]
    assert_same_run(first, second)


NORMALISED = {"objective": {"kind": "normalise_then_sum"}}


@pytest.mark.parametrize(
    ("changes", "staleness", "word"),
    [
        ({"placement": {"weights": {"kind": "broadcast"}}}, 1, "broadcast sends a version while"),
        ({"placement": {"weights": {"kind": "files"}}}, 2, "files keeps the last two versions only"),
        (NORMALISED, 1, "normalise_then_sum has the KL of the policy that sampled"),
    ],
)
def test_what_cannot_be_behind_is_refused_with_the_reason(
    tmp_path: Path, changes: dict[str, Any], staleness: int, word: str
) -> None:
    plain = tiny_config(tmp_path).model_dump(mode="json")
    if changes is NORMALISED:  # which combines raw rewards
        properties = {
            name: setting | {"transform": {"kind": "identity"}} for name, setting in plain["properties"].items()
        }
        plain |= {"properties": properties}
    config = RunConfig.model_validate(plain | changes)
    refuse_contradictions(stale(config, "arm", staleness - 1))
    with pytest.raises(ConfigError, match=f"align.staleness is {staleness}, but .*{word}"):
        refuse_contradictions(stale(config, "arm", staleness))
