"""The optimiser of every training, supervised or not: AdamW with decay on matrices only, and its schedule."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn

from actors.learning.specs import OptimizerSpec


def adamw(parameters: Iterable[nn.Parameter], spec: OptimizerSpec, *, fused: bool) -> torch.optim.AdamW:
    """AdamW over the trainable `parameters`. Biases and norms (vectors) do not decay.

    `fused` is PyTorch's kernel for all arithmetic of a step at once; its last bits differ from those of the plain one.
    """
    trainable = [parameter for parameter in parameters if parameter.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.ndim >= 2], "weight_decay": spec.weight_decay},
        {"params": [p for p in trainable if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=spec.learning_rate,
        betas=(spec.beta1, spec.beta2),
        eps=spec.epsilon,
        fused=fused or None,
    )


def learning_rate_at(spec: OptimizerSpec, *, step: int, total_steps: int) -> float:
    """Learning rate of `step` (0-based): linear warm-up, then constant, linear or cosine decay towards 0.

    The first step after the warm-up has the full rate. The decay would reach 0 at `total_steps`, one step after the
    last, so that no step is wasted.
    """
    if step < spec.warmup_steps:
        return spec.learning_rate * (step + 1) / (spec.warmup_steps + 1)
    progress = min(1.0, (step - spec.warmup_steps) / max(1, total_steps - spec.warmup_steps))
    factors = {"constant": 1.0, "linear": 1.0 - progress, "cosine": 0.5 * (1.0 + math.cos(math.pi * progress))}
    return spec.learning_rate * factors[spec.schedule]


def set_learning_rate(optimizer: torch.optim.Optimizer, value: float) -> None:
    """Use `value` from the next step on."""
    for group in optimizer.param_groups:
        group["lr"] = value
