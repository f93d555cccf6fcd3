"""Blocks are found by class; recomputed ones give the same gradients, and need less memory in between."""

from __future__ import annotations

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks
from transformers import PreTrainedModel

from actors.learning.blocks import blocks, recompute_in_backward
from allgood.errors import ModelError
from tests.actors import tiny_models

IDS = torch.arange(3, 25)[None]


def loss_and_saved(model: PreTrainedModel) -> tuple[torch.Tensor, int]:
    """A loss, and how many numbers were kept for its backward pass."""
    kept = 0

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        nonlocal kept
        kept += tensor.numel()
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = model(input_ids=IDS, use_cache=False).logits.log_softmax(-1)[0, :, 5].sum()
    return loss, kept


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "qwen2", "jamba"])
def test_recomputed_blocks_give_the_same_gradients_and_keep_less(architecture: str) -> None:
    plain, less = tiny_models.policy(architecture), tiny_models.policy(architecture)
    assert len(blocks(plain)) == 2
    recompute_in_backward(less)
    (first, much), (second, little) = loss_and_saved(plain), loss_and_saved(less)
    assert torch.equal(first, second)
    first.backward()
    second.backward()
    for name, parameter in plain.named_parameters():
        assert torch.equal(parameter.grad, less.get_parameter(name).grad), name
    assert little < 0.7 * much


def test_a_model_without_blocks_is_refused_with_the_keys_that_ask_for_them() -> None:
    with pytest.raises(ModelError, match=r"align\.gradient_checkpointing, and placement\.learners: shard"):
        blocks(torch.nn.Linear(2, 2))
