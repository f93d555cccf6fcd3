"""The workers of one training, as the loop sees them: who am I of how many, and sums over all of us."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed
from torch import nn

T = TypeVar("T")


def never() -> bool:
    """Nobody asks this worker to end."""
    return False


@dataclass(frozen=True)
class Workers:
    """One worker's place among all. `device` None leaves the choice to the job's configuration.

    `is_asked_to_end` is looked at after each step, where there is one worker.
    """

    rank: int = 0
    world_size: int = 1
    device: torch.device | None = None
    is_asked_to_end: Callable[[], bool] = never

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

    def of_first(self, value: float) -> float:
        """The first worker's value, on all of them."""
        return self.add({"value": value if self.rank == 0 else 0.0})["value"]

    def gathered(self, value: T) -> list[T]:
        """The values of all workers, by rank."""
        if self.world_size == 1:
            return [value]
        values: list[T] = [value] * self.world_size
        torch.distributed.all_gather_object(values, value)
        return values
