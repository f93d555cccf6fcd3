"""A lane on real actors: where log pi_0 of the reference policy's own samples comes from."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import ray

from actors.cluster.cast import CastRequest, Part, spawn
from actors.cluster.limits import Limits
from actors.cluster.named_actors import attach, names_of
from actors.cluster.placement import Resources
from actors.cluster.recovery import Fault
from actors.messages import Chunk, Experience, Rollout, Scores
from actors.reward import RewardSpec
from allgood.errors import RoleError
from allgood.scorers.spec import FunctionSpec
from allgood.treatment import Treatment
from pipelines.cast.collect import collect
from pipelines.cast.lane import Lane
from tests.actors import tiny_models
from tests.actors.stand_in import StandIn
from tests.pipelines.cast.odd_engines import FixedPolicy, FixedRollouts

CHUNK = Chunk(0, 0, 9, 0, ("a", "b", "c"), tuple(tiny_models.PROMPTS), samples_per_prompt=2)


@dataclass(frozen=True)
class Given(StandIn):
    """Actors of a test, one per role."""

    actors: dict[str, Any]
    scorers: list[str] = field(default_factory=list)

    def handles(self, role: str) -> Sequence[Any]:
        return [self.actors[role]] if role in self.actors else []

    def close(self) -> None:
        for actor in self.actors.values():
            ray.kill(actor)


@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.parametrize(("is_exact", "asked"), [(True, "rollout"), (False, "reference_policy")])
def test_log_pi_0_comes_from_the_rollouts_only_where_their_engine_is_exact(is_exact: bool, asked: str) -> None:
    actors = {
        "rollout": ray.remote(FixedRollouts).options(num_cpus=0.1).remote(is_exact),
        "reference_policy": ray.remote(FixedPolicy).options(num_cpus=0.1).remote(),
    }
    cast = Given(actors)
    made = asyncio.run(_experience(cast))
    cast.close()
    expected = {"rollout": FixedRollouts.LOGPROB, "reference_policy": FixedPolicy.LOGPROB}[asked]
    assert [row.tolist() for row in made.reference.rows] == [[expected]] * 6


@pytest.mark.usefixtures("ray_cluster")
def test_an_inexact_engine_without_a_reference_policy_is_refused() -> None:
    cast = Given({"rollout": ray.remote(FixedRollouts).options(num_cpus=0.1).remote(False)})
    with pytest.raises(RoleError, match="there is no reference_policy actor 0"):
        asyncio.run(_experience(cast))
    cast.close()


async def _experience(cast: Given) -> Experience:
    lane = Lane(cast, key="one", scorers=[], limits=Limits(240))
    return await collect(CHUNK, await lane.crew_of_reference_policy())


@pytest.mark.usefixtures("ray_cluster")
def test_a_scorer_that_ray_started_anew_is_told_its_treatment_again() -> None:
    spec = RewardSpec("short", FunctionSpec("tests.actors.functions:shortness"))
    rollout = Rollout(CHUNK, (), (), (), (), ("a", "bb", "ccc", "d", "ee", "fff"), (), 0, 0.0)
    with spawn(CastRequest(rewards={"short": Part(spec, Resources(cpus=0.1))}, timeout_s=240), name="shared") as cast:
        told: list[Fault] = []
        lane = Lane(
            attach(names_of(cast, "shared")), key="trial", scorers=["short"], limits=Limits(240), tell=told.append
        )
        before, after = asyncio.run(_scores_around_a_death(lane, rollout, cast.places()["reward.short", 0]["pid"]))
    np.testing.assert_array_equal(before.view.utilities, after.view.utilities)
    assert told  # of the death, or of the lost treatment where Ray was quicker than we


async def _scores_around_a_death(lane: Lane, rollout: Rollout, pid: int) -> tuple[Scores, Scores]:
    await lane.treat({"short": Treatment("trial", "log_sigmoid", {"a": 0.0, "b": 1.0, "c": 2.0})})
    before = await lane.crew().score["short"](rollout)
    os.kill(pid, signal.SIGKILL)
    return before, await lane.crew().score["short"](rollout)
