"""Several learners take the step of one; a lost or stuck peer is an error with a name."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray

from actors.cluster.cast import Cast
from actors.learner import ArmSpec, Learner, OptimizerSpec, Ppo, Rloo
from actors.learning.group import Peers, merge, shard
from actors.learning.specs import Kl, Reinforce
from actors.messages import Batch, UpdateResult, Weights
from allgood.errors import RoleError, TrainingError
from tests.actors import tiny_models
from tests.actors.batches import ragged_batch
from tests.actors.specs import learner_spec

# Adam divides by the gradient's own size: rounding at entries near 0 would show as steps of different sign.
OPTIMIZER = OptimizerSpec(learning_rate=1e-3, weight_decay=0.0, epsilon=1e-3, schedule="constant")
RLOO, PPO = ArmSpec(OPTIMIZER, Rloo(), 10, 0), ArmSpec(OPTIMIZER, Ppo(), 10, 0)
REINFORCE = ArmSpec(OPTIMIZER, Reinforce(), 10, 0, kl=Kl("k3", "loss"))  # its baseline runs over all learners


def start_pair(folder: str, *, timeout_s: float) -> list[Any]:
    learner_class = ray.remote(Learner).options(num_cpus=0.5)
    pair = [learner_class.remote(learner_spec(folder, timeout_s=timeout_s)) for _ in range(2)]
    meet(pair)
    return pair


def meet(pair: Sequence[Any]) -> None:
    address = ray.get(pair[0].open_group.remote("127.0.0.1"))
    ray.get([learner.join.remote(rank, 2, address) for rank, learner in enumerate(pair)], timeout=60)


@pytest.fixture
def pair(cast: Cast) -> Sequence[Any]:
    return cast.handles("learner")


def update(pair: Sequence[Any], batch: Batch) -> UpdateResult:
    parts = shard(batch, len(pair))
    return merge(ray.get([learner.update.remote(part) for learner, part in zip(pair, parts, strict=True)], timeout=60))


def assert_same_bits(first: Weights, second: Weights) -> None:
    assert first.arrays.keys() == second.arrays.keys()
    for name, array in first.arrays.items():
        assert np.array_equal(array, second.arrays[name]), name


@pytest.mark.parametrize("arm", [RLOO, PPO, REINFORCE], ids=["rloo", "ppo", "reinforce"])
def test_two_learners_agree_with_one_and_bitwise_with_each_other(
    pair: Sequence[Any], folder: str, arm: ArmSpec
) -> None:
    alone, model = Learner(learner_spec(folder)), tiny_models.policy()
    alone.start(arm)
    ray.get([learner.start.remote(arm) for learner in pair])
    for step in range(3):
        batch = ragged_batch(model, step=step, policy_version=step, seed=step)
        one, two = alone.update(batch), update(pair, batch)
        assert two.policy_version == one.policy_version == step + 1
        for name in one.metrics.keys() - {"seconds"}:
            assert two.metrics[name] == pytest.approx(one.metrics[name], rel=1e-3, abs=1e-6), name
    first, second = ray.get([learner.weights.remote() for learner in pair])
    assert_same_bits(first, second)
    for name, array in alone.weights().arrays.items():
        np.testing.assert_allclose(first.arrays[name], array, rtol=1e-3, atol=1e-5)


def test_learner_without_rows_takes_the_same_step(pair: Sequence[Any]) -> None:
    ray.get([learner.start.remote(PPO) for learner in pair])
    batch = ragged_batch(tiny_models.policy())
    only = [row for row in range(9) if batch.groups[row] == 7]
    single = dataclasses.replace(
        batch,
        **{name: tuple(getattr(batch, name)[row] for row in only) for name in ("prompt_tokens", "response_tokens")},
        **{name: tuple(getattr(batch, name)[row] for row in only) for name in ("logprobs", "reference_logprobs")},
        utilities=batch.utilities[only],
        groups=batch.groups[only],
    )
    assert [len(part.groups) for part in shard(single, 2)] == [4, 0]
    update(pair, single)
    assert_same_bits(*ray.get([learner.weights.remote() for learner in pair]))


def test_group_of_two_loads_what_it_saved_and_continues_bitwise(pair: Sequence[Any], tmp_path: Path) -> None:
    model = tiny_models.policy()
    ray.get([learner.start.remote(PPO) for learner in pair])
    update(pair, ragged_batch(model))
    ray.get(pair[0].save.remote(str(tmp_path)))
    update(pair, ragged_batch(model, step=1, policy_version=1, seed=1))
    expected = ray.get(pair[0].weights.remote())
    ray.get([learner.load.remote(str(tmp_path)) for learner in pair])
    update(pair, ragged_batch(model, step=1, policy_version=1, seed=1))
    for learner in pair:
        assert_same_bits(expected, ray.get(learner.weights.remote()))


def test_non_finite_gradient_of_one_shard_stops_both(pair: Sequence[Any]) -> None:
    ray.get([learner.start.remote(RLOO) for learner in pair])
    batch = ragged_batch(tiny_models.policy(), step=6)
    broken = dataclasses.replace(batch, utilities=np.where(np.arange(9) == 4, np.inf, batch.utilities))
    updates = [learner.update.remote(part) for learner, part in zip(pair, shard(broken, 2), strict=True)]
    for update_ in updates:
        with pytest.raises(TrainingError, match="gradient of step 6 is not finite"):
            ray.get(update_, timeout=60)


def test_stuck_and_dead_peers_become_errors(ray_cluster: None, folder: str) -> None:
    pair = start_pair(folder, timeout_s=5)  # less is too short for a meeting on a busy machine
    ray.get([learner.start.remote(RLOO) for learner in pair])
    parts = shard(ragged_batch(tiny_models.policy()), 2)
    started = time.monotonic()
    with pytest.raises(RoleError, match="learner 0 lost a peer"):
        ray.get(pair[0].update.remote(parts[0]), timeout=30)  # learner 1 was not asked
    assert time.monotonic() - started < 20

    meet(pair)  # a new meeting point makes a new group
    update(pair, ragged_batch(tiny_models.policy()))
    waiting = pair[0].update.remote(dataclasses.replace(parts[0], policy_version=1))
    ray.kill(pair[1])
    with pytest.raises(RoleError, match="learner 0 lost a peer"):
        ray.get(waiting, timeout=30)
    ray.kill(pair[0])


def test_shards_are_whole_prompts_balanced_by_tokens() -> None:
    batch = ragged_batch(tiny_models.policy())
    parts = shard(batch, 2)
    # tokens per prompt: 27, 26, 32: the largest alone, the others together
    assert [sorted(set(part.groups.tolist())) for part in parts] == [[7], [0, 4]]
    assert sum(len(part.groups) for part in parts) == 9
    for part in parts:
        rows = [row for row in range(9) if batch.groups[row] in part.groups]
        assert [tokens.tolist() for tokens in part.response_tokens] == [batch.response_tokens[r].tolist() for r in rows]
        assert part.utilities.tolist() == batch.utilities[rows].tolist()


def test_one_learner_gets_the_batch_itself() -> None:
    batch = ragged_batch(tiny_models.policy())
    assert shard(batch, 1) == [batch]


def result(*, norm: float = 2.0, seconds: float = 1.0, version: int = 4) -> UpdateResult:
    return UpdateResult(version, {"gradient_norm": norm, "loss": 0.5, "seconds": seconds})


def test_merged_update_takes_the_slowest_seconds() -> None:
    assert merge([result(seconds=1), result(seconds=3)]) == result(seconds=3)


def test_learners_that_took_different_steps_are_refused() -> None:
    with pytest.raises(TrainingError, match=r"learner 1 took another step than learner 0"):
        merge([result(), result(norm=2.1)])
    with pytest.raises(TrainingError, match=r"learner 1 took another step"):
        merge([result(), result(version=5)])


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="reads Linux's list of sockets")
def test_meeting_point_listens_on_the_given_interface_only() -> None:
    peers = Peers()
    port = int(peers.open("127.0.0.1").rsplit(":", 1)[1])
    listening = [
        line.split()[1] for line in Path("/proc/net/tcp").read_text().splitlines()[1:] if line.split()[3] == "0A"
    ]
    assert f"0100007F:{port:04X}" in listening
    assert f"00000000:{port:04X}" not in listening
