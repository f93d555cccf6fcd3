"""A policy's weights as a value that travels: numpy arrays, which the next update cannot reach.

Arrays travel faster than tensors; the receiver copies them into its own parameters (`actors.weights.copying`).
"""

from __future__ import annotations

import torch
from torch import nn

from actors.messages import Weights
from actors.weights.arrays import NAMES, array_copy


def snapshot(model: nn.Module, *, policy_version: int, dtype: torch.dtype) -> Weights:
    """Copies of the model's parameters in `dtype`; tied parameters travel once."""
    arrays = {name: array_copy(parameter, dtype) for name, parameter in model.named_parameters()}
    return Weights(policy_version=policy_version, arrays=arrays, dtypes=dict.fromkeys(arrays, NAMES[dtype]))
