"""The blocks of a transformer: the unit that is recomputed in the backward pass, and gathered when weights are sharded.

Blocks are what transformers itself marks as such (`GradientCheckpointingLayer`), found by class and not by name.
"""

from __future__ import annotations

from functools import partial

from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from allgood.errors import ModelError


def blocks(model: PreTrainedModel) -> list[nn.Module]:
    """The outermost blocks, in the order of the model.

    Raises:
        ModelError: The model has none.
    """
    found: list[nn.Module] = []
    inside: set[nn.Module] = set()
    for module in model.modules():  # a module comes before what it holds
        if isinstance(module, GradientCheckpointingLayer) and module not in inside:
            found.append(module)
            inside.update(module.modules())
    if not found:
        raise ModelError(
            f"{type(model).__name__} has no blocks that transformers knows of, so its layers can be neither recomputed "
            "nor sharded; leave out align.gradient_checkpointing, and placement.learners: shard"
        )
    return found


def recompute_in_backward(model: PreTrainedModel) -> None:
    """Have each block keep only its input for the backward pass, and compute the rest again there: less memory, one
    more forward pass, the same bits.
    """
    for block in blocks(model):
        # transformers' own switch works in training mode only, which would turn dropout on.
        block.forward = partial(checkpoint, block.forward, use_reentrant=False, preserve_rng_state=False)
