"""An actor that is killed can start anew by its role's recipe, and answers with the same bits."""

from __future__ import annotations

import asyncio
import os
import signal

import numpy as np
import pytest

from actors.cluster.cast import Cast
from actors.cluster.limits import Limits
from actors.learning.specs import ArmSpec, OptimizerSpec, Rloo
from actors.messages import Chunk, Experience
from allgood.errors import RoleError
from allgood.treatment import Treatment
from pipelines.cast.collect import collect
from pipelines.cast.lane import Lane
from tests.actors import tiny_models
from tests.actors.batches import ragged_batch

IDS = ("a", "b", "c")


def own_treatment(key: str, shift: float) -> Treatment:
    references = {name: shift + index for index, name in enumerate(IDS)}
    return Treatment(key, "log_sigmoid", references, temperature=2.0)


def kill(cast: Cast, role: str) -> None:
    """As the kernel does when memory runs out: the actor says nothing any more."""
    pid = cast.places()[role, 0]["pid"]
    os.kill(pid, signal.SIGKILL)


@pytest.mark.faults
def test_replicas_that_start_anew_answer_with_the_same_bits(tiny_cast: Cast) -> None:
    cast = tiny_cast

    async def lanes() -> None:
        one, other = (Lane(cast, key=key, scorers=["liked"], limits=Limits(240)) for key in ("one", "other"))
        await one.treat({"liked": own_treatment("one", 0.0)})
        await other.treat({"liked": own_treatment("other", 5.0)})
        await one.start(ArmSpec(OptimizerSpec(learning_rate=0.01), Rloo(), total_steps=3, seed=0))
        result = await one.update(ragged_batch(tiny_models.policy()))
        await one.publish(result.policy_version)
        before = [await experience(lane) for lane in (one, other)]
        for role in ("reward.liked", "rollout"):
            dead = cast.handles(role)[0]
            kill(cast, role)
            assert_same_bits(before[0], await experience(one))
            assert cast.handles(role)[0] != dead
        # the lanes were made before the deaths, and are told nothing of them
        after = [await experience(lane) for lane in (one, other)]
        for was, now in zip(before, after, strict=True):
            assert_same_bits(was, now)
        assert not np.array_equal(before[0].scores["liked"].view.utilities, before[1].scores["liked"].view.utilities)

    async def experience(lane: Lane) -> Experience:
        chunk = Chunk(0, 0, 9, 1, IDS, tuple(tiny_models.PROMPTS), samples_per_prompt=2)
        crew = await lane.crew_of_reference_policy()
        return await collect(chunk, crew)

    asyncio.run(lanes())


def assert_same_bits(was: Experience, now: Experience) -> None:
    for name in ("response_tokens", "logprobs", "entropies"):
        for a, b in zip(getattr(was.rollout, name), getattr(now.rollout, name), strict=True):
            np.testing.assert_array_equal(a, b)
    for name in ("rewards", "references", "margins", "utilities"):
        np.testing.assert_array_equal(getattr(was.scores["liked"].view, name), getattr(now.scores["liked"].view, name))


@pytest.mark.faults
def test_a_learner_that_starts_anew_refuses_to_update_before_it_has_an_arm(tiny_cast: Cast) -> None:
    kill(tiny_cast, "learner")
    tiny_cast.restart("learner")
    lane = Lane(tiny_cast, key="one", scorers=[], limits=Limits(240))
    with pytest.raises(RoleError, match="call start or load first"):
        asyncio.run(lane.update(ragged_batch(tiny_models.policy())))
