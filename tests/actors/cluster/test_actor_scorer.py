"""Reward actors behind the interface of a scorer: from any process, over a death, and gone with their block."""

from __future__ import annotations

import os
import pickle
import signal
from typing import Any

import pytest
import ray

from actors.cluster.actor_scorer import ROWS_PER_CALL, ActorSettings, reward_actors
from actors.cluster.placement import Resources
from allgood.errors import RoleError
from allgood.objectives import WeightedSum
from allgood.scorers.all_good_scorer import AllGoodScorer
from allgood.scorers.rewards_spec import PropertySpec, ReferenceSpec, RewardsSpec
from allgood.scorers.spec import FunctionSpec

SHORT = FunctionSpec("tests.actors.functions:shortness")
SPEC = RewardsSpec({"short": PropertySpec(SHORT, ReferenceSpec(constant=0.5))}, WeightedSum({"short": 1.0}))
PROMPTS = ["What is tea?"] * (2 * ROWS_PER_CALL + 3)
RESPONSES = ["leaf " * (row % 7) + "tea" for row in range(len(PROMPTS))]
SMALL = Resources(cpus=0.1)


@pytest.mark.faults
@pytest.mark.usefixtures("ray_cluster")
def test_any_process_may_ask_also_after_a_death_and_nobody_after_the_block() -> None:
    expected = AllGoodScorer(SPEC).score(PROMPTS, RESPONSES).total
    with reward_actors(SPEC, ActorSettings({"short": Resources(replicas=2, cpus=0.1)})) as scorer:
        assert scorer.score(PROMPTS, RESPONSES).total.tobytes() == expected.tobytes()  # in the order that was asked
        assert scorer.score([], []).total.shape == (0,)
        copy = pickle.loads(pickle.dumps(scorer))

        @ray.remote(num_cpus=0)
        def elsewhere(scorer: Any) -> Any:
            return scorer.score(PROMPTS, RESPONSES).total

        assert ray.get(elsewhere.remote(copy)).tobytes() == expected.tobytes()
        [dead] = [actor for actor in replicas() if actor["name"].endswith(".short.0")]
        handle = ray.get_actor(dead["name"], namespace=dead["namespace"])
        os.kill(ray.get(handle.location.remote())["pid"], signal.SIGKILL)
        assert scorer.score(PROMPTS, RESPONSES).total.tobytes() == expected.tobytes()
    assert not replicas()
    with pytest.raises(RoleError, match="the process that made it has ended"):
        pickle.loads(pickle.dumps(scorer)).score(PROMPTS, RESPONSES)


def replicas() -> list[dict[str, str]]:
    actors: list[dict[str, str]] = ray.util.list_named_actors(all_namespaces=True)
    return [actor for actor in actors if actor["name"].startswith("rewards-")]


def test_settings_of_what_is_no_property_are_refused_before_anything_starts() -> None:
    with (
        pytest.raises(ValueError, match="no property 'tasty'; there are: short"),
        reward_actors(SPEC, ActorSettings({"tasty": SMALL})),
    ):
        pass
