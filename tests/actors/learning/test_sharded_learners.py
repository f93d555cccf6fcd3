"""Learners that hold one policy between them take the step of one, save together, and publish whole tensors."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
import torch
from transformers import AutoModelForCausalLM

from actors.faults import LearnerLostError, LearnerMemoryError
from actors.learner import ArmSpec, Learner, OptimizerSpec, Ppo, Rloo
from actors.learning.group import merge, shard
from actors.learning.specs import Kl, Lora
from actors.messages import Batch, UpdateResult, Weights
from allgood.errors import CheckpointError, RoleError
from tests.actors import tiny_models
from tests.actors.batches import ragged_batch
from tests.actors.learning.hosts import Host
from tests.actors.specs import learner_spec

# Adam divides by the gradient's own size: rounding at entries near 0 would show as steps of different sign.
OPTIMIZER = OptimizerSpec(learning_rate=1e-3, weight_decay=0.01, epsilon=1e-3, max_grad_norm=1e6, schedule="constant")
RLOO, PPO = ArmSpec(OPTIMIZER, Rloo(), 20, 0), ArmSpec(OPTIMIZER, Ppo(), 20, 0)
FULL_KL = ArmSpec(OPTIMIZER, Rloo(), 20, 0, kl=Kl("full", "loss"))
LORA = Lora(rank=3, alpha=6.0)
LESS = {"gradient_checkpointing": True, "micro_batch_tokens": 60}  # several passes, not as many on both learners

SLOW = pytest.mark.slow
ARMS = pytest.mark.parametrize(
    "arm",
    [
        pytest.param(RLOO, id="rloo"),
        pytest.param(PPO, id="ppo", marks=SLOW),
        pytest.param(FULL_KL, id="full_kl", marks=SLOW),
    ],
)
KINDS = pytest.mark.parametrize("lora", [None, LORA], ids=["full_weights", "lora"])


@pytest.fixture(scope="module")
def hosts(ray_cluster: None) -> list[Any]:
    return [ray.remote(Host).options(num_cpus=0.1).remote() for _ in range(2)]


class Pair:
    """Two learners as one."""

    def __init__(self, hosts: Sequence[Any], folder: str, **changes: Any) -> None:
        self.hosts = hosts
        ray.get([host.make.remote(learner_spec(folder, is_sharded=True, **changes)) for host in hosts], timeout=120)
        address = self.ask(Learner.open_group, "127.0.0.1", only=[0])[0]
        joins = [host.do.remote(Learner.join, rank, 2, address) for rank, host in enumerate(hosts)]
        ray.get(joins, timeout=120)

    def ask(self, method: Callable[..., Any], *arguments: Any, only: Sequence[int] = (0, 1)) -> list[Any]:
        return ray.get([self.hosts[rank].do.remote(method, *arguments) for rank in only], timeout=120)

    def update(self, batch: Batch) -> UpdateResult:
        parts = shard(batch, 2)
        asked = [host.do.remote(Learner.update, part) for host, part in zip(self.hosts, parts, strict=True)]
        return merge(ray.get(asked, timeout=120))

    def weights(self) -> Weights:
        first, second = self.ask(Learner.weights)
        assert_same_bits(first, second)
        return first


def alone(folder: str, arm: ArmSpec, **changes: Any) -> Learner:
    made = Learner(learner_spec(folder, **changes))
    made.start(arm)
    return made


def batches(number: int, start: int = 0) -> list[Batch]:
    model = tiny_models.policy()
    return [ragged_batch(model, step=step, policy_version=step, seed=step) for step in range(start, start + number)]


def gradients(learner: Learner) -> dict[str, tuple[int, np.ndarray]]:
    """By parameter, the first row that the learner holds, and the gradient of its rows."""
    pieces = learner._policy.pieces()
    return {name: (pieces[name].start, p.grad.numpy()) for name, p in learner._policy.parameters.items()}


def initial_of(folder: str, lora: Lora | None) -> Iterable[tuple[str, np.ndarray]]:
    return alone(folder, RLOO, lora=lora).weights().arrays.items()


def num_rows_held(learner: Learner) -> dict[str, int]:
    return {name: len(piece.tensor) for name, piece in learner._policy.pieces().items()}


def assert_same_bits(first: Weights, second: Weights) -> None:
    assert first.arrays.keys() == second.arrays.keys()
    for name, array in first.arrays.items():
        assert np.array_equal(array, second.arrays[name]), name


def assert_close(first: Weights, second: Weights, tolerance: float) -> None:
    for name, array in first.arrays.items():
        np.testing.assert_allclose(array, second.arrays[name], rtol=0, atol=tolerance, err_msg=name)


@ARMS
@KINDS
def test_gradients_and_steps_are_those_of_one_process_and_repeat_bitwise(
    hosts: list[Any], folder: str, lora: Lora | None, arm: ArmSpec
) -> None:
    one, two = alone(folder, arm, lora=lora), Pair(hosts, folder, lora=lora, **LESS)
    num_steps = 10 if arm is RLOO else 2  # the collective operations of the others take their time
    two.ask(Learner.start, arm)
    result, expected = two.update(batches(1)[0]), one.update(batches(1)[0])
    for name in expected.metrics.keys() - {"seconds"}:
        assert result.metrics[name] == pytest.approx(expected.metrics[name], rel=1e-3, abs=1e-5), name
    whole = gradients(one)
    for held in two.ask(gradients):
        for name, (start, rows) in held.items():
            right = whole[name][1][start : start + len(rows)]
            np.testing.assert_allclose(rows, right, rtol=0, atol=1e-5 * max(1.0, np.abs(right).max(initial=0)))
    for batch in batches(num_steps - 1, start=1):
        two.update(batch)
        one.update(batch)
    first = two.weights()
    assert_close(first, one.weights(), 1e-3)
    assert max(np.abs(first.arrays[name] - initial).max() for name, initial in initial_of(folder, lora)) > 1e-3

    two.ask(Learner.start, arm)
    for batch in batches(num_steps):
        two.update(batch)
    assert_same_bits(first, two.weights())


def test_each_learner_holds_its_rows_only(hosts: list[Any], folder: str) -> None:
    pair = Pair(hosts, folder)
    first, second = pair.ask(num_rows_held)
    shapes = {name: len(p) for name, p in tiny_models.policy().named_parameters()}
    assert {name: first[name] + second[name] for name in first} == shapes
    assert all(abs(first[name] - second[name]) <= 1 for name in first)


@KINDS
def test_a_saved_pair_continues_bitwise_and_other_numbers_of_learners_load_the_same_bits(
    hosts: list[Any], folder: str, lora: Lora | None, tmp_path: Path
) -> None:
    state, again = str(tmp_path / "state"), str(tmp_path / "again")
    pair = Pair(hosts, folder, lora=lora)
    pair.ask(Learner.start, PPO)
    for batch in batches(2):
        pair.update(batch)
    pair.ask(Learner.save, state)
    saved = pair.weights()
    [last] = batches(1, start=2)
    pair.update(last)
    expected = pair.weights()

    pair = Pair(hosts, folder, lora=lora)
    pair.ask(Learner.load, state)
    assert_same_bits(pair.weights(), saved)
    pair.update(last)
    assert_same_bits(pair.weights(), expected)

    single = Learner(learner_spec(folder, lora=lora, is_sharded=True))
    single.load(state)
    assert_same_bits(single.weights(), saved)
    assert single.weights().policy_version == 2
    single.save(again)  # by one learner, and back to two
    single.update(last)
    assert_close(single.weights(), expected, 1e-5)
    pair = Pair(hosts, folder, lora=lora)
    pair.ask(Learner.load, again)
    assert_same_bits(pair.weights(), saved)
    pair.update(last)
    assert_same_bits(pair.weights(), expected)

    files = {path.name for path in (tmp_path / "state").iterdir()}
    shares = {f"{name}.0000{rank}-of-00002.safetensors" for name in ("weights", "optimizer") for rank in (1, 2)}
    assert files == {*shares, "value_head.safetensors", "learner.json"}
    (tmp_path / "state" / "optimizer.00002-of-00002.safetensors").unlink()
    with pytest.raises(CheckpointError, match="has 1 files of 'optimizer', and needs all of them"):
        single.load(state)


@KINDS
def test_parts_of_a_version_are_whole_and_the_model_folder_has_the_logits_of_the_learners(
    hosts: list[Any], folder: str, lora: Lora | None, tmp_path: Path
) -> None:
    pair = Pair(hosts, folder, lora=lora)
    pair.ask(Learner.start, RLOO)
    pair.update(batches(1)[0])
    plan = pair.ask(Learner.publication_plan)[0]
    assert plan.is_collective
    part, nothing = pair.ask(Learner.publish, 0)
    assert nothing is None
    assert_same_bits(part, pair.weights())
    assert all(("lora_" in name) == (lora is not None) for name in part.arrays)

    one = alone(folder, RLOO, lora=lora)
    one.update(batches(1)[0])
    one.save_pretrained(str(tmp_path / "one"))
    pair.ask(Learner.save_pretrained, str(tmp_path / "two"))
    ids = torch.arange(3, 23)[None]
    models = [AutoModelForCausalLM.from_pretrained(tmp_path / name) for name in ("one", "two")]
    assert type(models[1]).__name__ == "LlamaForCausalLM"
    with torch.no_grad():
        logits = [model(ids).logits for model in models]
        torch.testing.assert_close(*logits, rtol=0, atol=1e-4)
        torch.testing.assert_close(logits[0], one._model(ids).logits, rtol=0, atol=1e-5)
        assert (logits[0] - tiny_models.policy()(ids).logits).abs().max() > 1e-3


def test_tied_and_biased_models_are_sharded_too(hosts: list[Any], tmp_path: Path) -> None:
    folder = tiny_models.save_policy(tmp_path / "gpt2", architecture="gpt2")  # tied embeddings, and Conv1D layers
    for lora in (None, Lora(target_modules=("c_attn",))):
        one, two = alone(folder, RLOO, lora=lora), Pair(hosts, folder, lora=lora)
        two.ask(Learner.start, RLOO)
        model = tiny_models.policy("gpt2")
        for step in range(3):
            batch = ragged_batch(model, step=step, policy_version=step, seed=step)
            two.update(batch)
            one.update(batch)
        assert_close(two.weights(), one.weights(), 1e-4)
        one.save_pretrained(str(tmp_path / f"one_{lora}"))
        two.ask(Learner.save_pretrained, str(tmp_path / f"two_{lora}"))
        first, second = (AutoModelForCausalLM.from_pretrained(tmp_path / f"{n}_{lora}") for n in ("one", "two"))
        for name, parameter in first.named_parameters():
            torch.testing.assert_close(parameter, second.get_parameter(name), rtol=0, atol=1e-4)


def test_a_lonely_learner_of_a_sharded_spec_is_a_plain_one_bitwise(folder: str) -> None:
    plain, sharded = alone(folder, RLOO), alone(folder, RLOO, is_sharded=True)
    for batch in batches(2):
        plain.update(batch)
        sharded.update(batch)
    assert_same_bits(plain.weights(), sharded.weights())


def test_learners_of_one_policy_meet_once(hosts: list[Any], folder: str) -> None:
    pair = Pair(hosts, folder)
    address = pair.ask(Learner.open_group, "127.0.0.1", only=[0])[0]
    with pytest.raises(RoleError, match="meet once"):
        ray.get([host.do.remote(Learner.join, rank, 2, address) for rank, host in enumerate(hosts)], timeout=120)


@pytest.mark.faults
def test_the_death_of_a_learner_in_the_middle_of_a_pass_is_an_error_with_a_name(ray_cluster: None, folder: str) -> None:
    pair = Pair([ray.remote(Host).options(num_cpus=0.1).remote() for _ in range(2)], folder, timeout_s=20.0)
    pair.ask(Learner.start, RLOO)
    pid = pair.hosts[1].do.remote(lambda learner: os.getpid())
    first = shard(batches(1)[0], 2)[0]
    waiting = pair.hosts[0].do.remote(Learner.update, first)  # its first pass waits for the other learner
    os.kill(ray.get(pid), signal.SIGKILL)
    with pytest.raises(RoleError, match="learner 0 lost a peer while"):
        ray.get(waiting, timeout=240)


@pytest.mark.faults
def test_a_learner_without_memory_names_the_halves_whose_gradient_is_that_of_the_whole(
    ray_cluster: None, folder: str
) -> None:
    hosts = [ray.remote(Host).options(num_cpus=0.1).remote() for _ in range(2)]
    pair, [batch] = Pair(hosts, folder, timeout_s=10.0), batches(1)
    pair.ask(Learner.start, RLOO)
    pair.ask(out_of_memory_above, 4, only=[1])
    asked = [host.do.remote(Learner.update, part) for host, part in zip(hosts, shard(batch, 2), strict=True)]
    with pytest.raises(LearnerMemoryError, match="ran out of memory on learner 1") as told:
        ray.get(asked[1], timeout=60)
    with pytest.raises(LearnerLostError, match="learner 0 lost a peer"):  # it is left in the middle of a pass
        ray.get(asked[0], timeout=60)
    own = shard(batch, 2)[1]
    lengths = [len(p) + len(r) for p, r in zip(own.prompt_tokens, own.response_tokens, strict=True)]
    assert told.value.pass_tokens == max(lengths) * len(lengths) // 2

    one, pair = alone(folder, RLOO), Pair(hosts, folder)
    pair.ask(Learner.start, RLOO)
    pair.ask(out_of_memory_above, 4, only=[1])
    pair.ask(Learner.limit_passes, told.value.pass_tokens)
    result, expected = pair.update(batch), one.update(batch)
    assert result.metrics["gradient_norm"] == pytest.approx(expected.metrics["gradient_norm"], rel=1e-5)
    whole = gradients(one)
    for held in pair.ask(gradients):
        for name, (start, rows) in held.items():
            np.testing.assert_allclose(rows, whole[name][1][start : start + len(rows)], rtol=0, atol=1e-5)
    pair.ask(Learner.start, RLOO)
    assert set(pair.ask(lambda learner: learner._pass_tokens)) == {16_384}  # another arm has the run's own size


def out_of_memory_above(learner: Learner, num_rows: int) -> None:
    """Passes over more rows run out of memory in the last layer, when the others have made theirs."""

    def refuse(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        if len(inputs[0]) > num_rows:
            raise torch.OutOfMemoryError("CUDA out of memory")

    learner._model.model.layers[-1].register_forward_pre_hook(refuse)


def test_gradient_checkpointing_changes_no_bit(folder: str) -> None:
    plain, less = alone(folder, PPO), alone(folder, PPO, gradient_checkpointing=True)
    for batch in batches(2):
        first, second = plain.update(batch).metrics, less.update(batch).metrics
        assert {**first, "seconds": 0} == {**second, "seconds": 0}
    assert_same_bits(plain.weights(), less.weights())


def test_the_base_without_its_adapters_is_the_pi_0_of_the_full_kl(folder: str) -> None:
    """A copy of the initial weights gives the same update as the adapted policy with its adapters switched off."""
    own, copied = (alone(folder, FULL_KL, lora=LORA) for _ in range(2))
    copied._pi_0 = tiny_models.policy()
    for batch in batches(3):
        first, second = own.update(batch).metrics, copied.update(batch).metrics
        assert {**first, "seconds": 0} == {**second, "seconds": 0}
    assert_same_bits(own.weights(), copied.weights())
