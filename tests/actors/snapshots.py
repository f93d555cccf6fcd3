"""A model's weights as a learner publishes them, for tests that need no learner."""

from __future__ import annotations

import torch
from torch import nn

from actors.messages import Weights
from actors.weights.layout import layout_of
from actors.weights.outlet import gathered


def snapshot(model: nn.Module, *, policy_version: int, dtype: torch.dtype) -> Weights:
    """Copies of the model's parameters in `dtype`; tied parameters travel once."""
    tensors = dict(model.named_parameters())
    entries = layout_of(tensors, dtype).entries
    return gathered(entries, tensors.__getitem__, policy_version=policy_version, training="")
