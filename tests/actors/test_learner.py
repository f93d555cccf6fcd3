"""The learner against a slow, obvious implementation, and its promises: resume, restart, refusals."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, PreTrainedModel

from actors.learner import ArmSpec, Learner, OptimizerSpec, Ppo, Rloo
from actors.learning.specs import Algorithm, Grpo, Kl, Reinforce, arm_from_json, arm_to_json
from actors.messages import Batch, Weights
from allgood.errors import CheckpointError, RoleError, TrainingError
from tests.actors import tiny_models
from tests.actors.batches import ragged_batch
from tests.actors.specs import learner_spec

OPTIMIZER = OptimizerSpec(learning_rate=1e-3, weight_decay=0.01, max_grad_norm=0.5, schedule="constant")
RLOO = ArmSpec(OPTIMIZER, Rloo(), total_steps=10, seed=0)
PPO = ArmSpec(OPTIMIZER, Ppo(epochs=2, value_coefficient=0.7, discount=0.9, gae_lambda=0.8), total_steps=10, seed=0)

# AdamW's first step divides a gradient by its own size, so that a gradient near zero has a step that rounding decides:
# weights agree to a hundredth of the learning rate, whatever the processor.
A_STEP = 0.01 * OPTIMIZER.learning_rate


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_models.save_policy(tmp_path_factory.mktemp("models") / "policy")


@pytest.fixture
def model(folder: str) -> PreTrainedModel:
    return AutoModelForCausalLM.from_pretrained(folder).eval()


def learner(folder: str, arm: ArmSpec = RLOO, **changes: object) -> Learner:
    made = Learner(learner_spec(folder, **changes))
    made.start(arm)
    return made


def same_bits(first: Weights, second: Weights) -> bool:
    names = first.arrays.keys() | second.arrays.keys()
    return all(np.array_equal(first.arrays[name], second.arrays[name]) for name in names)


def token_logprobs(model: PreTrainedModel, batch: Batch, row: int) -> torch.Tensor:
    """One unpadded row at a time, the definition."""
    tokens = torch.tensor(batch.response_tokens[row], dtype=torch.int64)
    return distributions(model, batch, row).gather(-1, tokens[:, None])[:, 0]


def distributions(model: PreTrainedModel, batch: Batch, row: int) -> torch.Tensor:
    """Log-probabilities of every token at each position of a response, [tokens, vocabulary]."""
    prompt, response = batch.prompt_tokens[row], batch.response_tokens[row]
    ids = torch.tensor(np.concatenate([prompt, response]), dtype=torch.int64)[None]
    return model(input_ids=ids).logits[0, len(prompt) - 1 : -1].log_softmax(-1)


def obvious_step(model: PreTrainedModel, loss: torch.Tensor, extra: Iterable[torch.nn.Parameter] = ()) -> float:
    parameters = [*model.parameters(), *extra]
    decays = [(p, 0.01 if p.ndim > 1 else 0.0) for p in parameters]  # biases and norms do not
    optimizer = torch.optim.AdamW([{"params": [p], "weight_decay": decay} for p, decay in decays], lr=1e-3)
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(parameters, 0.5).item()
    optimizer.step()
    return norm


def test_rloo_update_is_that_of_the_definition_computed_row_by_row(folder: str, model: PreTrainedModel) -> None:
    batch = ragged_batch(model)
    trained = learner(folder)
    metrics = trained.update(batch).metrics

    kl = [float(np.sum(own - ref)) for own, ref in zip(batch.logprobs, batch.reference_logprobs, strict=True)]
    returns = [float(u) - 0.3 * k for u, k in zip(batch.utilities, kl, strict=True)]
    terms = []
    for row, group in enumerate(batch.groups):
        others = [returns[i] for i in range(9) if batch.groups[i] == group and i != row]
        terms.append(-(returns[row] - sum(others) / len(others)) * token_logprobs(model, batch, row).sum())
    loss = torch.stack(terms).mean()
    norm = obvious_step(model, loss)

    assert metrics["loss"] == pytest.approx(loss.item(), rel=1e-5)
    assert metrics["gradient_norm"] == pytest.approx(norm, rel=1e-4)
    assert norm > 0.5  # so that clipping takes part
    assert metrics["kl_k1_sum"] == pytest.approx(np.mean(kl), rel=1e-5)
    assert metrics["advantage_mean"] == pytest.approx(0.0, abs=1e-9)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(
            torch.tensor(trained.weights().arrays[name]), parameter.detach(), rtol=1e-4, atol=A_STEP
        )


@pytest.mark.parametrize(
    ("algorithm", "kl"),
    [
        (Grpo(), Kl("k3", "loss")),
        (Reinforce(), Kl("k2", "reward")),
        (Rloo(), Kl("k2", "loss")),
        (Rloo(), Kl("k2_sequence", "loss")),
        (Grpo(scale="std"), Kl()),
    ],
    ids=str,
)
def test_other_baselines_and_kl_choices_are_those_of_the_definition(
    folder: str, model: PreTrainedModel, algorithm: Algorithm, kl: Kl
) -> None:
    batch = ragged_batch(model)
    trained = learner(folder, dataclasses.replace(RLOO, algorithm=algorithm, kl=kl))
    metrics = trained.update(batch).metrics

    def estimate(own: torch.Tensor, row: int) -> torch.Tensor:
        ratio = own - torch.tensor(batch.reference_logprobs[row])
        if kl.estimator == "k2_sequence":
            return ratio.sum() ** 2 / 2
        return {"k1": ratio, "k2": ratio**2 / 2, "k3": torch.exp(-ratio) - 1 + ratio}[kl.estimator].sum()

    in_reward = kl.placement == "reward"
    penalties = [estimate(torch.tensor(batch.logprobs[row]), row).item() for row in range(9)]
    returns = np.array([u - 0.3 * k * in_reward for u, k in zip(batch.utilities, penalties, strict=True)])
    terms = []
    for row, group in enumerate(batch.groups):
        mine = returns[batch.groups == group]
        baseline = returns.mean() if algorithm == Reinforce() else mine.mean()
        if algorithm == Rloo():
            baseline = (mine.sum() - returns[row]) / (len(mine) - 1)
        scale = mine.std(ddof=1) + 1e-4 if algorithm == Grpo(scale="std") else 1.0
        own = token_logprobs(model, batch, row)
        terms.append(-(returns[row] - baseline) / scale * own.sum())
        if not in_reward:
            terms[-1] = terms[-1] + 0.3 * estimate(own, row)
    loss = torch.stack(terms).mean()
    norm = obvious_step(model, loss)
    assert metrics["loss"] == pytest.approx(loss.item(), rel=1e-4, abs=1e-6)
    assert metrics["gradient_norm"] == pytest.approx(norm, rel=1e-3)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(
            torch.tensor(trained.weights().arrays[name]), parameter.detach(), rtol=1e-3, atol=5e-6
        )


@pytest.mark.parametrize("placement", ["reward", "loss"])
def test_full_vocabulary_kl_is_that_of_the_definition_to_the_initial_weights(
    folder: str, model: PreTrainedModel, placement: str, tmp_path: Path
) -> None:
    pi_0 = AutoModelForCausalLM.from_pretrained(folder).eval()
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():  # at pi_0 itself the KL is 0, and so is its gradient
            parameter.add_(0.05 * torch.randn_like(parameter))
    trained = learner(folder, dataclasses.replace(RLOO, kl=Kl("full", placement)))
    trained.save(str(tmp_path))
    save_file(dict(model.named_parameters()), tmp_path / "weights.safetensors")
    trained.load(str(tmp_path))
    batch = ragged_batch(model)
    metrics = trained.update(batch).metrics

    def full(row: int) -> torch.Tensor:
        own, reference = (distributions(policy, batch, row) for policy in (model, pi_0))
        return (own.exp() * (own - reference.detach())).sum()

    in_reward = placement == "reward"
    penalties = np.array([full(row).item() for row in range(9)])
    assert penalties.min() > 0.01
    returns = batch.utilities - 0.3 * penalties * in_reward
    terms = []
    for row, group in enumerate(batch.groups):
        mine = returns[batch.groups == group]
        advantage = returns[row] - (mine.sum() - returns[row]) / (len(mine) - 1)
        terms.append(-advantage * token_logprobs(model, batch, row).sum())
        if not in_reward:
            terms[-1] = terms[-1] + 0.3 * full(row)
    loss = torch.stack(terms).mean()
    norm = obvious_step(model, loss)
    assert metrics["loss"] == pytest.approx(loss.item(), rel=1e-4, abs=1e-6)
    assert metrics["gradient_norm"] == pytest.approx(norm, rel=1e-3)


def test_an_arm_travels_through_json_whatever_its_algorithm() -> None:
    for algorithm in (Rloo(), Ppo(epochs=3), Reinforce(), Grpo(scale="std")):
        arm = dataclasses.replace(RLOO, algorithm=algorithm, kl=Kl("k3", "loss"))
        assert arm_from_json(json.loads(json.dumps(arm_to_json(arm)))) == arm
    old = arm_to_json(RLOO)
    del old["kl"]  # a checkpoint from before there was a choice
    assert arm_from_json(old) == RLOO


def test_first_ppo_epoch_is_that_of_the_definition_computed_row_by_row(folder: str, model: PreTrainedModel) -> None:
    batch = ragged_batch(model)
    trained = learner(folder, dataclasses.replace(PPO, algorithm=dataclasses.replace(PPO.algorithm, epochs=1)))
    metrics = trained.update(batch).metrics

    head = torch.nn.Linear(32, 1)
    torch.nn.init.zeros_(head.weight)
    torch.nn.init.zeros_(head.bias)
    terms = []
    for row in range(9):
        rewards = -0.3 * (batch.logprobs[row] - batch.reference_logprobs[row]).astype(float)
        rewards[-1] += batch.utilities[row]
        # the values are 0, so GAE is the reward-to-go discounted by 0.9 * 0.8
        targets = [sum(r * 0.72**i for i, r in enumerate(rewards[t:])) for t in range(len(rewards))]
        prompt, response = batch.prompt_tokens[row], batch.response_tokens[row]
        ids = torch.tensor(np.concatenate([prompt, response]), dtype=torch.int64)[None]
        hidden = model(input_ids=ids, output_hidden_states=True).hidden_states[-1][0, len(prompt) - 1 : -1]
        policy = -(torch.tensor(targets) * token_logprobs(model, batch, row)).sum()
        # inside the value clip both branches have one value and, at V = V_old, one gradient
        value = 0.5 * (head(hidden)[:, 0] - torch.tensor(targets, dtype=torch.float32)).square().sum()
        terms.append(policy + 0.7 * value)
    norm = obvious_step(model, torch.stack(terms).mean(), head.parameters())

    assert metrics["gradient_norm"] == pytest.approx(norm, rel=1e-4)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(
            torch.tensor(trained.weights().arrays[name]), parameter.detach(), rtol=1e-4, atol=A_STEP
        )


@pytest.mark.parametrize("arm", [RLOO, PPO], ids=["rloo", "ppo"])
def test_update_does_not_depend_on_micro_batches(folder: str, model: PreTrainedModel, arm: ArmSpec) -> None:
    batch = ragged_batch(model)
    at_once, one_by_one = learner(folder, arm, micro_batch_tokens=10_000), learner(folder, arm, micro_batch_tokens=1)
    first, second = at_once.update(batch).metrics, one_by_one.update(batch).metrics
    for name in first.keys() - {"seconds"}:
        assert first[name] == pytest.approx(second[name], rel=1e-4, abs=1e-7), name
    for name, array in at_once.weights().arrays.items():
        np.testing.assert_allclose(array, one_by_one.weights().arrays[name], rtol=1e-4, atol=A_STEP)


@pytest.mark.parametrize("arm", [RLOO, PPO], ids=["rloo", "ppo"])
def test_saved_and_loaded_learner_continues_bitwise(
    folder: str, model: PreTrainedModel, arm: ArmSpec, tmp_path: Path
) -> None:
    uninterrupted = learner(folder, arm)
    for step in range(2):
        uninterrupted.update(ragged_batch(model, step=step, policy_version=step, seed=step))
    uninterrupted.save(str(tmp_path / "state"))
    last = ragged_batch(model, step=2, policy_version=2, seed=2)
    expected = uninterrupted.update(last)

    resumed = Learner(learner_spec(folder))
    resumed.load(str(tmp_path / "state"))
    assert resumed.weights().policy_version == 2
    result = resumed.update(last)
    assert same_bits(resumed.weights(), uninterrupted.weights())
    assert {**result.metrics, "seconds": 0} == {**expected.metrics, "seconds": 0}
    assert {path.suffix for path in (tmp_path / "state").iterdir()} == {".safetensors", ".json"}  # no pickle


class OtherNode:
    """A folder that learners do not see: they write and read a passing one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def written(self, write: Callable[[str], None]) -> dict[str, int]:
        write(str(self.folder / "passing"))
        (self.folder / "passing").rename(self.folder / "kept")
        return {path.name: path.stat().st_size for path in (self.folder / "kept").iterdir()}

    def read(self, read: Callable[[str], None]) -> None:
        read(str(self.folder / "kept"))


def test_a_learner_that_does_not_see_a_folder_has_its_files_brought_there_and_back(
    folder: str, model: PreTrainedModel, tmp_path: Path
) -> None:
    (tmp_path / "driver").touch()
    (tmp_path / "state").mkdir()
    first = learner(folder)
    first.update(ragged_batch(model))
    assert first.sees(str(tmp_path / "driver"))
    assert not first.sees(str(tmp_path / "elsewhere"))
    elsewhere = OtherNode(tmp_path / "state")
    assert set(first.save_elsewhere(elsewhere)) == {"weights.safetensors", "optimizer.safetensors", "learner.json"}
    second = Learner(learner_spec("policy"), find=lambda source: folder)
    second.load_elsewhere(elsewhere)
    assert same_bits(first.weights(), second.weights())
    (tmp_path / "model").mkdir()
    assert "model.safetensors" in second.save_pretrained_elsewhere(OtherNode(tmp_path / "model"))


def test_a_state_saved_before_the_first_update_loads(folder: str, model: PreTrainedModel, tmp_path: Path) -> None:
    fresh = learner(folder, PPO)
    fresh.save(str(tmp_path))
    loaded = learner(folder, RLOO)
    loaded.load(str(tmp_path))
    batch = ragged_batch(model)
    fresh.update(batch)
    loaded.update(batch)
    assert same_bits(fresh.weights(), loaded.weights())


def test_start_begins_again_from_the_initial_weights(folder: str, model: PreTrainedModel) -> None:
    kept = learner(folder, PPO)
    initial = kept.weights()
    kept.update(ragged_batch(model))
    assert not same_bits(kept.weights(), initial)
    kept.start(RLOO)
    assert same_bits(kept.weights(), initial)
    assert kept.weights().policy_version == 0
    kept.update(ragged_batch(model))
    other = learner(folder, RLOO)
    other.update(ragged_batch(model))
    assert same_bits(kept.weights(), other.weights())


def test_published_weights_do_not_change_with_the_next_update(folder: str, model: PreTrainedModel) -> None:
    trained = learner(folder)
    published = trained.weights()
    copies = {name: array.copy() for name, array in published.arrays.items()}
    trained.update(ragged_batch(model))
    assert all(np.array_equal(published.arrays[name], copies[name]) for name in copies)
    assert trained.weights().policy_version == 1


def test_stale_batch_takes_k1_from_the_learner_and_weighs_by_truncated_ratios(
    folder: str, model: PreTrainedModel
) -> None:
    trained = learner(folder)
    trained.update(ragged_batch(model))
    stale = ragged_batch(model, step=1, policy_version=0, seed=1)  # log-probs of version 0, learner holds 1
    moved = tiny_models.policy()
    moved.load_state_dict({name: torch.tensor(a) for name, a in trained.weights().arrays.items()}, strict=False)
    current = ragged_batch(moved, seed=1).logprobs
    metrics = trained.update(stale).metrics
    expected = np.mean([np.sum(own - ref) for own, ref in zip(current, stale.reference_logprobs, strict=True)])
    behaviour = np.mean([np.sum(own - ref) for own, ref in zip(stale.logprobs, stale.reference_logprobs, strict=True)])
    assert metrics["kl_k1_sum"] == pytest.approx(expected, rel=1e-4)
    assert abs(expected - behaviour) > 0.01


def test_batch_of_a_newer_version_is_refused(folder: str, model: PreTrainedModel) -> None:
    with pytest.raises(RoleError, match=r"step 3 comes from policy version 1, but the learner holds 0"):
        learner(folder).update(ragged_batch(model, step=3, policy_version=1))


def test_learner_without_an_arm_refuses_to_update(folder: str, model: PreTrainedModel) -> None:
    with pytest.raises(RoleError, match="call start or load first"):
        Learner(learner_spec(folder)).update(ragged_batch(model))


def out_of_memory_above(trained: Learner, num_rows: int) -> None:
    """Backward passes over more rows run out of memory in the lowest layer, when those above have their gradients."""

    def refuse(module: torch.nn.Module, gradients: Sequence[torch.Tensor]) -> None:
        if len(gradients[0]) > num_rows:
            raise torch.OutOfMemoryError("CUDA out of memory")

    trained._model.model.layers[0].register_full_backward_pre_hook(refuse)


@pytest.mark.parametrize("arm", [RLOO, PPO], ids=["rloo", "ppo"])
def test_an_update_that_runs_out_of_memory_is_that_of_the_whole_micro_batch_in_halves(
    folder: str, model: PreTrainedModel, arm: ArmSpec
) -> None:
    whole, halved = learner(folder, arm), learner(folder, arm)
    out_of_memory_above(halved, num_rows=5)  # of the 9 rows of the batch
    expected, found = whole.update(ragged_batch(model)), halved.update(ragged_batch(model))
    epochs = 2 if arm is PPO else 1
    assert (len(expected.retries), len(found.retries)) == (0, epochs)
    assert found.metrics.keys() == expected.metrics.keys()
    for name in found.metrics.keys() - {"seconds"}:
        assert found.metrics[name] == pytest.approx(expected.metrics[name], rel=1e-4, abs=1e-5), name
    for name, array in halved.weights().arrays.items():
        np.testing.assert_allclose(array, whole.weights().arrays[name], rtol=1e-4, atol=A_STEP)


def test_an_update_whose_halves_run_out_of_memory_too_leaves_the_weights(folder: str, model: PreTrainedModel) -> None:
    trained = learner(folder)
    before = trained.weights()
    out_of_memory_above(trained, num_rows=1)
    with pytest.raises(TrainingError, match="and so did its halves"):
        trained.update(ragged_batch(model))
    assert same_bits(trained.weights(), before)


@pytest.mark.parametrize("arm", [RLOO, PPO], ids=["rloo", "ppo"])
def test_non_finite_gradient_names_the_step_and_leaves_the_weights(
    folder: str, model: PreTrainedModel, arm: ArmSpec
) -> None:
    trained, before = learner(folder, arm), learner(folder, arm).weights()
    batch = ragged_batch(model, step=17)
    broken = dataclasses.replace(batch, utilities=np.where(np.arange(9) == 4, np.nan, batch.utilities))
    with pytest.raises(TrainingError, match=r"gradient of step 17 is not finite"):
        trained.update(broken)
    assert same_bits(trained.weights(), before)


def test_non_finite_weights_name_the_step(model: PreTrainedModel, tmp_path: Path) -> None:
    with torch.no_grad():
        model.get_input_embeddings().weight[319] = 3e38  # a token that no batch has: its gradient is 0
    model.save_pretrained(tmp_path)
    arm = dataclasses.replace(RLOO, optimizer=dataclasses.replace(OPTIMIZER, weight_decay=1e5))  # weights times -99
    with pytest.raises(TrainingError, match=r"not finite after step 5"):
        learner(str(tmp_path), arm).update(ragged_batch(model, step=5))


def test_ppo_trains_its_value_head_towards_the_returns(folder: str, model: PreTrainedModel) -> None:
    arm = dataclasses.replace(
        PPO,
        optimizer=OptimizerSpec(learning_rate=3e-3, schedule="constant"),
        algorithm=Ppo(epochs=4, value_clip=10.0, clip=1e-6),
    )
    trained, batch = learner(folder, arm), ragged_batch(model)
    losses = [
        trained.update(dataclasses.replace(batch, policy_version=step)).metrics["value_loss"] for step in range(10)
    ]
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize("arm", [RLOO, PPO], ids=["rloo", "ppo"])
def test_bfloat16_computes_under_autocast_and_keeps_float32_weights(
    folder: str, model: PreTrainedModel, arm: ArmSpec, tmp_path: Path
) -> None:
    batch = ragged_batch(model)
    half, full = learner(folder, arm, dtype="bfloat16"), learner(folder, arm)
    loss, expected = half.update(batch).metrics["loss"], full.update(batch).metrics["loss"]
    assert loss != expected
    assert loss == pytest.approx(expected, rel=0.05)
    assert set(half.weights().dtypes.values()) == {"bfloat16"}
    half.save(str(tmp_path))
    assert {t.dtype for t in load_file(tmp_path / "weights.safetensors").values()} == {torch.float32}


def test_save_pretrained_folder_gives_the_same_logits(folder: str, model: PreTrainedModel, tmp_path: Path) -> None:
    trained = learner(folder)
    trained.update(ragged_batch(model))
    trained.save_pretrained(str(tmp_path / "model"))
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    for name, parameter in loaded.named_parameters():
        assert np.array_equal(parameter.detach().numpy(), trained.weights().arrays[name])


def test_damaged_or_foreign_states_are_refused_by_name(folder: str, model: PreTrainedModel, tmp_path: Path) -> None:
    trained = learner(folder)
    trained.update(ragged_batch(model))
    trained.save(str(tmp_path / "state"))
    weights = tmp_path / "state" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"weights\.safetensors"):
        trained.load(str(tmp_path / "state"))
    with pytest.raises(CheckpointError, match=r"learner\.json"):
        trained.load(str(tmp_path / "nowhere"))

    other = tiny_models.save_policy(tmp_path / "other", intermediate_size=48)
    learner(other).save(str(tmp_path / "other_state"))
    with pytest.raises(CheckpointError, match="belongs to another model"):
        trained.load(str(tmp_path / "other_state"))


def test_a_folder_that_cannot_be_written_is_one_error(folder: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CheckpointError, match="cannot write"):
        learner(folder).save(str(tmp_path / "file" / "state"))
