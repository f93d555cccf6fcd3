"""Versions reach every rollout actor, whichever way they travel, and also who starts anew or has missed a broadcast."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray

from actors.cluster.limits import Limits
from actors.cluster.pool import Pool
from actors.cluster.recipe import Recipe
from actors.cluster.recovery import Loss, Recovery
from actors.cluster.supervision import Who
from actors.learner import Learner
from actors.learning.specs import ArmSpec, OptimizerSpec, Rloo
from actors.messages import Chunk, Rollout
from actors.rollout import RolloutWorker
from actors.weights.transports import Broadcast, ObjectStore, SharedFiles, WeightTransport
from allgood.errors import RoleError
from pipelines.cast.faults import say_fault
from pipelines.cast.publishing import WeightPublishing
from tests.actors import tiny_models
from tests.actors.batches import ragged_batch
from tests.actors.specs import learner_spec, rollout_spec
from tests.actors.stand_in import StandIn

ARM = ArmSpec(OptimizerSpec(learning_rate=0.01), Rloo(), total_steps=9, seed=0)


class Given(StandIn):
    """Actors of a test and the recipe of its rollout actors."""

    def __init__(self, learner: Any, rollouts: Sequence[Any], fresh: Callable[[], Any]) -> None:
        self.fresh = fresh
        self.actors = {"learner": [learner], "rollout": list(rollouts)}
        self.recipe = Recipe()
        self.scorers: list[str] = []

    def handles(self, role: str) -> Sequence[Any]:
        return self.actors[role]

    def who(self, role: str, replica: int = 0) -> Who:
        return Who(role, replica, "127.0.0.1")

    def change_recipe(self, role: str, change: Callable[[Recipe], Recipe]) -> None:
        assert role == "rollout"
        self.recipe = change(self.recipe)

    def restart(self, role: str, replica: int = 0, loss: Loss | None = None) -> bool:
        assert role == "rollout"
        self.actors[role][replica] = self.fresh()
        return True


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_models.save_policy(tmp_path_factory.mktemp("models") / "policy")


def start_rollout(folder: str) -> Any:
    return ray.remote(RolloutWorker).options(num_cpus=0.1).remote(rollout_spec(folder))


@pytest.fixture(scope="module")
def rollouts(ray_cluster: None, folder: str) -> Iterator[list[Any]]:
    made = [start_rollout(folder) for _ in range(2)]
    yield made
    for actor in made:
        ray.kill(actor)


def given(folder: str, rollouts: Sequence[Any], transport: WeightTransport) -> Given:
    learner = ray.remote(Learner).options(num_cpus=0.1).remote(learner_spec(folder, transport=transport))
    ray.get(learner.start.remote(ARM), timeout=120)
    return Given(learner, rollouts, lambda: start_rollout(folder))


def publishing(cast: Given) -> WeightPublishing:
    def pool(role: str) -> Pool:
        limits = Limits(deadline_s=120)
        return Pool(cast, role, limits, Recovery(cast, role, limits, say_fault))

    return WeightPublishing(cast, pool("learner"), pool("rollout"))


def take_a_step(cast: Given, version: int) -> None:
    batch = ragged_batch(tiny_models.policy(), policy_version=version, seed=version)
    ray.get(cast.actors["learner"][0].update.remote(batch), timeout=120)


def responses(rollout: Any, version: int) -> Rollout:
    chunk = Chunk(0, 0, 9, version, ("a", "b", "c"), tuple(tiny_models.PROMPTS), samples_per_prompt=2)
    answer: Rollout = ray.get(rollout.generate.remote(chunk), timeout=120)
    return answer


def assert_holds_the_learners_weights(cast: Given, folder: str, version: int) -> None:
    """Every rollout actor answers with the bits of one that is given the learner's weights here."""
    here = RolloutWorker(rollout_spec(folder))
    here._engine.set_weights(ray.get(cast.actors["learner"][0].weights.remote()))
    here._policy_version = version
    chunk = Chunk(0, 0, 9, version, ("a", "b", "c"), tuple(tiny_models.PROMPTS), samples_per_prompt=2)
    expected = here.generate(chunk)
    for rollout in cast.actors["rollout"]:
        for found, right in zip(responses(rollout, version).logprobs, expected.logprobs, strict=True):
            np.testing.assert_array_equal(found, right)


@pytest.mark.parametrize("kind", ["broadcast", "files"])
def test_every_version_arrives_and_an_older_one_is_refused(
    rollouts: list[Any], folder: str, kind: str, tmp_path: Path
) -> None:
    transport = Broadcast(timeout_s=60.0) if kind == "broadcast" else SharedFiles(folder=str(tmp_path))
    cast = given(folder, rollouts, transport)

    async def run() -> None:
        publisher = publishing(cast)
        assert await publisher.publish() == [0, 0]
        first = cast.recipe.notice
        for version in (0, 1):
            take_a_step(cast, version)
            assert await publisher.publish() == [version + 1] * 2
        assert_holds_the_learners_weights(cast, folder, 2)
        with pytest.raises(RoleError, match=r"older than version 2|cannot be read"):  # files of version 0 are gone
            ray.get(rollouts[0].set_weights.remote(first))

    asyncio.run(run())
    ray.kill(cast.actors["learner"][0])
    # the driver's notice outlives the learner
    assert ray.get(rollouts[0].set_weights.remote(cast.recipe.notice), timeout=120) == 2


@pytest.mark.slow
@pytest.mark.parametrize("transport", ["object_store", "files"])
def test_a_version_that_is_told_late_is_the_one_announced_and_who_starts_anew_gets_the_one_told(
    rollouts: list[Any], folder: str, transport: str, tmp_path: Path
) -> None:
    cast = given(folder, rollouts, SharedFiles(folder=str(tmp_path)) if transport == "files" else ObjectStore())

    async def run() -> None:
        publisher = publishing(cast)
        assert await publisher.publish() == [0, 0]
        take_a_step(cast, 0)
        tell_first, before = publisher.announce(), cast.recipe.notice
        take_a_step(cast, 1)  # the learner goes on
        tell_second = publisher.announce()
        assert cast.recipe.notice is before
        assert await tell_first() == [1, 1]
        assert ray.get(rollouts[0].set_weights.remote(cast.recipe.notice)) == 1
        assert await tell_second() == [2, 2]
        assert_holds_the_learners_weights(cast, folder, 2)

    asyncio.run(run())


@pytest.mark.faults
@pytest.mark.parametrize("kind", ["object_store", "files", "broadcast"])
def test_a_replica_lost_during_a_publication_gets_the_version_when_it_is_there_again(
    rollouts: list[Any], folder: str, kind: str, tmp_path: Path
) -> None:
    transports = {
        "object_store": ObjectStore(),
        "files": SharedFiles(folder=str(tmp_path)),
        "broadcast": Broadcast(timeout_s=5.0),
    }
    cast = given(folder, rollouts, transports[kind])

    async def run() -> None:
        publisher = publishing(cast)
        assert await publisher.publish() == [0, 0]
        take_a_step(cast, 0)
        tell, killed = publisher.announce(), cast.actors["rollout"][1]
        ray.kill(killed)
        assert await tell() == [1, 1]
        assert cast.actors["rollout"][1] is not killed
        take_a_step(cast, 1)
        if kind == "broadcast":  # who missed one fetches the version, and the group forms again
            assert not publisher._members
        assert await publisher.publish() == [2, 2]
        if kind == "broadcast":
            assert len(publisher._members) == 3
        assert_holds_the_learners_weights(cast, folder, 2)

    try:
        asyncio.run(run())
    finally:
        rollouts[:] = cast.actors["rollout"]  # the next test has who started anew
