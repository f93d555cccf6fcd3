"""The best moment of a training so far, and the weights it had."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Best:
    """Lowest validation value so far, at which step, and the trainable weights then (copies, on CPU)."""

    step: int = 0
    value: float = math.inf
    num_worse_since: int = 0
    weights: Mapping[str, Tensor] = field(default_factory=dict)

    def after(self, step: int, value: float, trainable: Iterable[tuple[str, nn.Parameter]]) -> Best:
        """What is best when `value` was found at `step`."""
        if value >= self.value:
            return Best(self.step, self.value, self.num_worse_since + 1, self.weights)
        return Best(step, value, 0, {name: parameter.detach().cpu().clone() for name, parameter in trainable})

    @torch.no_grad()
    def restore(self, trainable: Iterable[tuple[str, nn.Parameter]]) -> None:
        """Put the best weights back into the model."""
        for name, parameter in trainable:
            parameter.copy_(self.weights[name])
