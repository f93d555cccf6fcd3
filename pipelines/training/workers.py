"""The workers of one training, as the loop sees them: who am I of how many, and sums over all of us."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.distributed
from torch import nn


@dataclass(frozen=True)
class Workers:
    """One worker's place among all. `device` None leaves the choice to the job's configuration."""

    rank: int = 0
    world_size: int = 1
    device: torch.device | None = None

    def prepare(self, model: nn.Module, device: torch.device) -> nn.Module:
        """`model`, wrapped by Ray Train so that gradients are averaged over workers; itself where there is one."""
        if self.world_size == 1:
            return model
        import ray.train.torch

        prepared: nn.Module = ray.train.torch.prepare_model(model, move_to_device=device)
        return prepared

    def add(self, sums: Mapping[str, float]) -> dict[str, float]:
        """Each value added up over all workers, in float64. All workers call this with the same names."""
        if self.world_size == 1:
            return dict(sums)
        values = torch.tensor(list(sums.values()), dtype=torch.float64, device=self.device)
        torch.distributed.all_reduce(values)
        return dict(zip(sums, values.tolist(), strict=True))
