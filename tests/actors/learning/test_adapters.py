"""Adapters change nothing at first, are switched off for pi_0, and are merged into what computes the same."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from actors.learning.adapters import add_adapters, initial_adapters, merged_tensors, without_adapters
from actors.learning.specs import Lora
from actors.weights.published import published_parameters
from allgood.errors import ModelError
from tests.actors import tiny_models

IDS = torch.arange(3, 25)[None]


def logits(model: PreTrainedModel) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=IDS, use_cache=False).logits


def adapted(architecture: str = "llama", *, seed: int | None = None, lora: Lora | None = None) -> PreTrainedModel:
    """A policy with adapters, filled with noise of a seed, or fresh."""
    model = tiny_models.policy(architecture)
    add_adapters(model, lora or Lora(rank=2))
    if seed is not None:
        torch.manual_seed(seed)
        with torch.no_grad():
            for parameter in published_parameters(model).values():
                parameter.normal_(0, 0.3)
    return model


def test_a_change_is_alpha_by_rank_times_b_times_a() -> None:
    model = adapted(seed=1, lora=Lora(rank=2, alpha=3.0, target_modules=("up_proj",)))
    layer = model.model.layers[1].mlp.up_proj
    a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    x = torch.randn(5, 32)
    expected = x @ layer.base_layer.weight.T + 1.5 * (x @ a.T @ b.T)
    torch.testing.assert_close(layer(x), expected, rtol=1e-5, atol=1e-5)


def test_fresh_adapters_change_no_bit_and_adapters_that_are_off_neither() -> None:
    plain = logits(tiny_models.policy())
    assert torch.equal(logits(adapted()), plain)
    model = adapted(seed=1)
    assert not torch.equal(logits(model), plain)
    with without_adapters(model):
        assert torch.equal(logits(model), plain)
    assert not torch.equal(logits(model), plain)


def test_only_adapters_are_trained_and_published() -> None:
    model = adapted()
    published = published_parameters(model)
    assert published
    assert all("lora_" in name for name in published)
    assert {name for name, p in model.named_parameters() if p.requires_grad} == published.keys()
    assert published_parameters(tiny_models.policy()).keys() == dict(tiny_models.policy().named_parameters()).keys()


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_merged_tensors_make_a_plain_model_that_computes_the_same(architecture: str) -> None:
    targets = ("c_attn", "c_fc") if architecture == "gpt2" else "all-linear"
    model = adapted(architecture, seed=2, lora=Lora(rank=2, target_modules=targets))
    state = model.state_dict()
    plain = AutoModelForCausalLM.from_config(tiny_models.config(architecture)).eval()
    plain.load_state_dict(dict(merged_tensors(model, state.__getitem__)))
    torch.testing.assert_close(logits(plain), logits(model), rtol=0, atol=2e-4)
    assert (logits(plain) - logits(tiny_models.policy(architecture))).abs().max() > 0.01


def test_initial_values_depend_on_names_and_seed_alone() -> None:
    shapes = {"x.lora_A.default.weight": (2, 50), "x.lora_B.default.weight": (50, 2)}
    first, again, other = (dict(initial_adapters(shapes, seed)) for seed in (3, 3, 4))
    a, b = shapes
    assert torch.equal(first[a], again[a])
    assert not torch.equal(first[a], other[a])
    assert first[a].abs().max() <= (1 / 50) ** 0.5  # uniform in +-1 / sqrt(inputs), as peft draws it
    assert first[a].abs().max() > 0.8 * (1 / 50) ** 0.5
    assert not first[b].any()


def test_targets_that_do_not_fit_are_refused_by_name() -> None:
    for targets, message in (
        (("nowhere",), r"do not fit this policy"),
        (("embed_tokens",), r"names 'model.embed_tokens', a Embedding"),
    ):
        with pytest.raises(ModelError, match=message):
            add_adapters(tiny_models.policy(), Lora(target_modules=targets))
    with pytest.raises(ModelError, match="whose weights are those of the embeddings"):
        add_adapters(tiny_models.policy(tie_word_embeddings=True), Lora(target_modules=("lm_head",)))
    add_adapters(tiny_models.policy(tie_word_embeddings=False), Lora(target_modules=("lm_head",)))
