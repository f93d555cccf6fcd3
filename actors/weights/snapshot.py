"""A policy's weights as a value that travels: numpy arrays, which the next update cannot reach.

Arrays travel faster than tensors; the receiver copies them into its own parameters (`actors.weights.copying`). numpy
has no bfloat16, so those travel as uint16 views.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from actors.messages import Weights

_NAMES = {torch.float32: "float32", torch.bfloat16: "bfloat16", torch.float16: "float16"}


def snapshot(model: nn.Module, *, policy_version: int, dtype: torch.dtype) -> Weights:
    """Copies of the model's parameters in `dtype`; tied parameters travel once."""
    arrays = {name: _array(parameter, dtype) for name, parameter in model.named_parameters()}
    return Weights(policy_version=policy_version, arrays=arrays, dtypes=dict.fromkeys(arrays, _NAMES[dtype]))


def _array(parameter: Tensor, dtype: torch.dtype) -> NDArray[np.generic]:
    # copy=True: the next update must not reach into what was published.
    value = parameter.detach().to(device="cpu", dtype=dtype, copy=True).contiguous()
    return value.view(torch.uint16).numpy() if dtype == torch.bfloat16 else value.numpy()
