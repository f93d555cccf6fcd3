"""Actors that several tests share: starting them takes seconds."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from actors.cluster.cast import Cast


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A saved policy."""
    from tests.actors import tiny_models

    return tiny_models.save_policy(tmp_path_factory.mktemp("models") / "policy")


@pytest.fixture(scope="session")
def cast(ray_cluster: None, folder: str) -> Iterator[Cast]:
    """Every role on that policy, with two learners."""
    # Not at the top: pytest may read this file before it installs the checks of shapes in `allgood`.
    from actors.cluster.cast import CastRequest, Part, spawn
    from actors.cluster.placement import Resources
    from actors.reward import RewardSpec
    from allgood.scorers.spec import FunctionSpec
    from tests.actors.specs import learner_spec, reference_policy_spec, rollout_spec

    small = Resources(cpus=0.25)
    request = CastRequest(
        rollout=Part(rollout_spec(folder, max_new_tokens=8, max_prompt_tokens=64), small),
        rewards={"short": Part(RewardSpec("short", FunctionSpec("tests.actors.functions:shortness")), small)},
        reference_policy=Part(reference_policy_spec(folder), small),
        learner=Part(learner_spec(folder), dataclasses.replace(small, replicas=2, memory_gb=0.1)),
        timeout_s=120,
    )
    with spawn(request) as cast:
        yield cast
