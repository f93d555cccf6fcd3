"""Checks shared by the public functions: each refuses a mistake with the argument, its value and what is allowed.

The finiteness check reads two numbers back from the device. That is right for [prompts, samples] and wrong inside
per-token loss code, where whoever builds the batch checks instead.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def in_float(values: Tensor) -> Tensor:
    """The values in the dtype that mathematics is done in: float64 stays, everything else becomes float32."""
    # bfloat16 rounds log sigma(6) to 0, the best utility there is, and float16 ends at 65504.
    return values if values.dtype in (torch.float32, torch.float64) else values.to(torch.float32)


def require_finite(name: str, values: Tensor) -> None:
    """ValueError when `values` holds NaN or infinity."""
    if values.numel() == 0:
        return
    low, high = torch.aminmax(values.detach())  # one pass; NaN comes through as both
    if math.isfinite(low.item()) and math.isfinite(high.item()):
        return
    wrong = ~torch.isfinite(values.detach())
    where = tuple(int(i) for i in wrong.nonzero()[0])
    raise ValueError(
        f"{name} must be finite, but {int(wrong.sum())} of {values.numel()} values are not, the first at {where}: "
        f"{values[where].item()}; a failed score has no utility, drop its sample first"
    )


def require_samples(name: str, values: Tensor) -> None:
    """ValueError when groups [..., samples] are empty. No row and no prompt at all pass: a chunk may have lost them."""
    if values.ndim >= 2 and values.shape[-1] == 0:
        raise ValueError(f"{name} must hold at least one sample per prompt, got shape {tuple(values.shape)}")


def require_shape(name: str, values: Tensor, num_axes: int, axes: str) -> None:
    """ValueError when `values` has another number of axes or no element; `axes` names them for the message."""
    if values.ndim != num_axes or values.numel() == 0:
        raise ValueError(f"{name} must be a non-empty tensor {axes}, got shape {tuple(values.shape)}")


def require_same_shape(name: str, values: Tensor, other_name: str, other: Tensor) -> None:
    """ValueError when two tensors differ in shape."""
    if values.shape != other.shape:
        raise ValueError(
            f"{name} and {other_name} must have the same shape, got {tuple(values.shape)} and {tuple(other.shape)}"
        )
