"""AdamW with weight decay on matrices only, and learning rates as a function of the step."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn

from pipelines.config.training import OptimizerConfig


def adamw(parameters: Iterable[nn.Parameter], config: OptimizerConfig) -> torch.optim.AdamW:
    """AdamW over the trainable `parameters`. Biases and norms (vectors) do not decay."""
    trainable = [parameter for parameter in parameters if parameter.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in trainable if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=config.learning_rate,
        betas=(config.beta1, config.beta2),
        eps=config.epsilon,
        fused=True,
    )


def learning_rate(config: OptimizerConfig, *, step: int, num_steps: int) -> float:
    """The learning rate of `step` (0-based): linear warm-up, then constant, linear or cosine decay towards 0.

    The first step after warm-up has the full rate. The decay would reach 0 at `num_steps`, one step after the last, so
    that no step is wasted.
    """
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / (config.warmup_steps + 1)
    share = (step - config.warmup_steps) / max(num_steps - config.warmup_steps, 1)
    factors = {"constant": 1.0, "linear": 1.0 - share, "cosine": 0.5 * (1.0 + math.cos(math.pi * share))}
    return config.learning_rate * factors[config.schedule]


def set_learning_rate(optimizer: torch.optim.Optimizer, value: float) -> None:
    """Use `value` from the next step on."""
    for group in optimizer.param_groups:
        group["lr"] = value
