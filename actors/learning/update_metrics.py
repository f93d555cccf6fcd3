"""What an update measures, as sums over rows and tokens, so that learners can add theirs before means are taken."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from actors.learning.group import Peers
from actors.learning.sequence_kl import sequence_k1, sequence_k3
from actors.messages import Batch, FloatRow

_NAMES = (
    *("rows", "tokens", "kl_k1", "kl_k3", "utility", "loss", "entropy", "value_loss", "clipped"),
    *("advantage", "advantage_squared", "num_advantages"),
)


class MetricSums:
    """Sums of one update; `loss`, `entropy`, `value_loss` and `clipped` run over all its epochs."""

    def __init__(self) -> None:
        self._sums = dict.fromkeys(_NAMES, 0.0)

    def copy(self) -> dict[str, float]:
        """The sums so far, for `restore`."""
        return dict(self._sums)

    def restore(self, copied: dict[str, float]) -> None:
        """Forget what was added since `copy`."""
        self._sums = dict(copied)

    def add(self, **values: float) -> None:
        """Add to the sums of these names."""
        for name, value in values.items():
            self._sums[name] += value

    def add_advantages(self, advantages: np.ndarray) -> None:
        """Take note of the advantages, one per row (RLOO) or per token (PPO)."""
        self.add(
            advantage=float(advantages.sum(dtype=np.float64)),
            advantage_squared=float(np.square(advantages, dtype=np.float64).sum()),
            num_advantages=float(advantages.size),
        )

    def add_start(self, batch: Batch, start_logprobs: Sequence[FloatRow]) -> None:
        """Take note of the batch and of the KL of the policy that starts the update."""
        self.add(
            rows=len(start_logprobs),
            tokens=sum(len(row) for row in start_logprobs),
            kl_k1=float(sequence_k1(start_logprobs, batch.reference_logprobs).sum()),
            kl_k3=float(sequence_k3(start_logprobs, batch.reference_logprobs).sum()),
            utility=float(batch.utilities.sum(dtype=np.float64)),
        )

    def means(self, peers: Peers, device: torch.device, *, epochs: int) -> dict[str, float]:
        """Means over the whole batch, over all learners; a collective operation."""
        summed = torch.tensor([self._sums[name] for name in _NAMES], dtype=torch.float64, device=device)
        peers.sum_(summed)
        sums = dict(zip(_NAMES, summed.tolist(), strict=True))
        rows, tokens = sums["rows"], sums["tokens"]
        advantage = sums["advantage"] / sums["num_advantages"]
        return {
            "loss": sums["loss"] / rows / epochs,
            "utility_mean": sums["utility"] / rows,
            "kl_k1_sum": sums["kl_k1"] / rows,
            "kl_k3_mean": sums["kl_k3"] / tokens,
            "entropy": sums["entropy"] / tokens / epochs,
            "advantage_mean": advantage,
            "advantage_std": math.sqrt(max(0.0, sums["advantage_squared"] / sums["num_advantages"] - advantage**2)),
            "clip_fraction": sums["clipped"] / tokens / epochs,
            "value_loss": sums["value_loss"] / tokens / epochs,
            "tokens": tokens,
        }
