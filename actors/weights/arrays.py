"""Tensors as numpy arrays and back, bit by bit. numpy has no bfloat16: those are uint16 views of the same bits."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

NAMES = {torch.float32: "float32", torch.bfloat16: "bfloat16", torch.float16: "float16"}
"""Of the dtypes in which weights travel."""


def array_copy(tensor: Tensor, dtype: torch.dtype) -> NDArray[np.generic]:
    """A copy of a tensor in `dtype`, which the next update cannot reach."""
    return array_view(tensor.detach().to(device="cpu", dtype=dtype, copy=True).contiguous())


def array_view(tensor: Tensor) -> NDArray[np.generic]:
    """The memory of a contiguous CPU tensor as an array."""
    return tensor.view(torch.uint16).numpy() if tensor.dtype == torch.bfloat16 else tensor.numpy()


def tensor_view(array: NDArray[np.generic], dtype: str) -> Tensor:
    """The memory of an array as a tensor; only for arrays that belong to this process and may be written."""
    tensor = torch.from_numpy(array)
    return tensor.view(torch.bfloat16) if dtype == "bfloat16" else tensor
