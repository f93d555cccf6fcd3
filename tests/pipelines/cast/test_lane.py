"""A lane on real actors: where log pi_0 of the reference policy's own samples comes from."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import ray

from actors.cluster.recipe import Recipe
from actors.cluster.supervision import Who
from actors.messages import Chunk, Experience
from allgood.errors import RoleError
from pipelines.cast.collect import collect
from pipelines.cast.lane import Lane
from tests.actors import tiny_models
from tests.pipelines.cast.odd_engines import FixedPolicy, FixedRollouts

CHUNK = Chunk(0, 0, 9, 0, ("a", "b", "c"), tuple(tiny_models.PROMPTS), samples_per_prompt=2)


@dataclass(frozen=True)
class Given:
    """Actors of a test, one per role."""

    actors: dict[str, Any]
    scorers: list[str] = field(default_factory=list)

    def handles(self, role: str) -> Sequence[Any]:
        return [self.actors[role]] if role in self.actors else []

    def who(self, role: str, replica: int = 0) -> Who:
        return Who(role, replica)

    def change_recipe(self, role: str, change: Callable[[Recipe], Recipe]) -> None:
        raise NotImplementedError

    def restart(self, role: str, replica: int = 0) -> None:
        raise NotImplementedError

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
    lane = Lane(cast, key="one", scorers=[], deadline_s=240)
    return await collect(CHUNK, await lane.crew_of_reference_policy())
