"""The memory formula against bytes of real tensors, and by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from actors.generation.decoding import prefill_expanded
from actors.generation.shared_prefix import prefill_shared, share_prefixes
from actors.learner import ArmSpec, Learner, LearnerSpec, OptimizerSpec, Rloo
from actors.learning.token_logprobs import response_logprobs
from pipelines.inspection.memory import Shape, generating, reading, training
from pipelines.inspection.shapes import num_adapter_parameters, policy_skeleton, scorer_skeleton, shape_of
from tests.actors.tiny_models import config, policy, save_policy

PROMPTS = [[5] * 10, [6] * 7, [7] * 4]


def num_bytes(tensors: list[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def test_a_training_by_hand() -> None:
    shape = Shape(
        num_parameters=1000, num_layers=2, hidden_size=8, inner_size=16, key_size=4, vocab_size=50, shares_prompts=True
    )
    memory = training(shape, num_trained=1000, tokens=10, predicted=3, width=4)
    assert (memory.parameters, memory.gradients, memory.optimizer) == (4000, 4000, 8000)
    assert memory.activations == 2 * 10 * 4 * (80 + 64) + 16 * 3 * 50
    half = training(shape, num_trained=20, tokens=10, predicted=3, width=2)
    assert (half.parameters, half.gradients, half.optimizer) == (4000, 80, 160)  # trained weights stay float32
    assert half.activations == 2 * 10 * (32 * 8 + 8 * 16) + 2 * 1000 + 16 * 3 * 50


def test_generating_by_hand() -> None:
    shape = Shape(
        num_parameters=1000, num_layers=2, hidden_size=8, inner_size=16, key_size=4, vocab_size=50, shares_prompts=False
    )
    memory = generating(shape, prompts=2, samples=3, prompt_tokens=10, new_tokens=5, width=2)
    assert memory.parameters == 2000
    assert memory.cache == 2 * 2 * 4 * (6 * 10 + 6 * 5) * 2
    assert memory.activations == max(20 * (16 + 48) * 2, 6 * 50 * 26)


@pytest.mark.parametrize("tied", [True, False])
def test_a_learner_holds_parameters_gradients_and_moments_as_the_formula_says(tmp_path: Path, tied: bool) -> None:
    source = save_policy(tmp_path / "policy", tie_word_embeddings=tied)
    learner = Learner(LearnerSpec(source, device="cpu", dtype="float32", threads=1, micro_batch_tokens=64))
    learner.start(ArmSpec(optimizer=OptimizerSpec(), algorithm=Rloo(), total_steps=1, seed=0))
    parameters = list(learner._model.parameters())
    learner._optimizer.step()  # gradients of 0, but it makes the moments
    shape = shape_of(learner._model)
    memory = training(shape, num_trained=shape.num_parameters, tokens=64, predicted=64, width=4)
    assert memory.parameters == num_bytes(parameters)
    assert memory.gradients == num_bytes([parameter.grad for parameter in parameters if parameter.grad is not None])
    moments = [value for state in learner._optimizer.state.values() for value in state.values() if value.ndim > 0]
    assert memory.optimizer == num_bytes(moments)


def kept_bytes(model: PreTrainedModel, run: object) -> int:
    """Bytes that autograd keeps for the backward pass, each storage once, without the weights."""
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        assert callable(run)
        run()
    return sum(tensor.untyped_storage().nbytes() for address, tensor in kept.items() if address not in weights)


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "gpt2"])
def test_activations_of_an_update_are_at_most_a_third_below_the_formula(architecture: str) -> None:
    model = policy(architecture, num_hidden_layers=6) if architecture != "gpt2" else policy("gpt2", n_layer=6)
    rows = [np.full(20, 5, dtype=np.int32)] * 3
    kept = kept_bytes(model, lambda: response_logprobs(model, rows, rows))
    shape = shape_of(model)
    formula = training(shape, num_trained=0, tokens=3 * 39, predicted=0, width=4).activations
    assert 0.67 * formula < kept - 4 * 60 * shape.vocab_size < 1.1 * formula  # the log-softmax of responses is kept too


@pytest.mark.parametrize("architecture", ["llama", "mistral"])
def test_keys_and_values_are_as_large_as_the_formula_says(architecture: str) -> None:
    model = policy(architecture, sliding_window=None) if architecture == "mistral" else policy(architecture)
    shape = shape_of(model)
    assert shape.shares_prompts
    formula = generating(shape, prompts=3, samples=2, prompt_tokens=10, new_tokens=5, width=4)
    assert share_prefixes(model)
    with torch.inference_mode():
        decoder, _ = prefill_shared(model, PROMPTS, 2, max_new_tokens=5)
        decoder.step(torch.ones(6, dtype=torch.int64))
    prefix = [*decoder.prefix._keys, *decoder.prefix._values]
    sampled = [tensor for layer in decoder.prefix._sampled for tensor in (layer.keys, layer.values)]
    assert formula.cache == num_bytes([*prefix, *(tensor for tensor in sampled if tensor is not None)])


def test_a_model_with_windows_repeats_the_prompt_for_every_sample() -> None:
    model = policy("mistral")
    shape = shape_of(model)
    assert not shape.shares_prompts
    formula = generating(shape, prompts=3, samples=2, prompt_tokens=10, new_tokens=1, width=4)
    with torch.inference_mode():
        decoder, _ = prefill_expanded(model, PROMPTS, 2, max_new_tokens=1)
    cached = sum(num_bytes([layer.keys, layer.values]) for layer in decoder._cache.layers)  # type: ignore[attr-defined]
    assert 0.5 * formula.cache < cached <= formula.cache  # a window forgets what lies before it


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "jamba", "deepseek", "mamba2"])
def test_a_skeleton_has_the_parameters_of_the_model(architecture: str) -> None:
    skeleton, real = policy_skeleton(config(architecture)), policy(architecture)
    assert {parameter.device.type for parameter in skeleton.parameters()} == {"meta"}
    assert shape_of(skeleton) == shape_of(real)


def test_a_scorer_has_a_head_of_one_label_and_reads_in_float32() -> None:
    made = config("bert", num_labels=1)
    skeleton = scorer_skeleton(made)
    real = AutoModelForSequenceClassification.from_config(made)
    assert reading(shape_of(skeleton), tokens=1, predicted=0, width=4).parameters == num_bytes([*real.parameters()])


def test_adapters_are_counted_per_linear_layer() -> None:
    skeleton = policy_skeleton(config("llama"))  # two layers; q, o 32 x 32; k, v 32 x 16; three of 32 x 64
    assert num_adapter_parameters(skeleton, 2, ["q_proj"]) == 2 * 2 * (32 + 32)
    assert num_adapter_parameters(skeleton, 2, "all-linear") == 2 * 2 * (2 * 64 + 2 * 48 + 3 * 96)
