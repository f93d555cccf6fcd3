"""Several reward models as one scorer: their rewards of a response are combined before the reference is subtracted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from allgood import ensembles
from allgood.scoring import ModelScorer, Scored


@dataclass(frozen=True)
class Mean:
    """The mean over members."""

    def __call__(self, members: Tensor) -> Tensor:
        """[members, responses] -> [responses]."""
        return ensembles.ensemble_mean(members)


@dataclass(frozen=True)
class Median:
    """The median over members."""

    def __call__(self, members: Tensor) -> Tensor:
        """[members, responses] -> [responses]."""
        return ensembles.ensemble_median(members)


@dataclass(frozen=True)
class Min:
    """The most pessimistic member."""

    def __call__(self, members: Tensor) -> Tensor:
        """[members, responses] -> [responses]."""
        return ensembles.ensemble_min(members)


@dataclass(frozen=True)
class LowerBound:
    """Mean minus `penalty` standard deviations: disagreement costs."""

    penalty: float = 1.0

    def __call__(self, members: Tensor) -> Tensor:
        """[members, responses] -> [responses]."""
        return ensembles.ensemble_lower_bound(members, penalty=self.penalty)


Combination = Mean | Median | Min | LowerBound


class EnsembleScorer:
    """Scores with every member; a response that one member cannot score has no reward."""

    def __init__(self, members: Sequence[ModelScorer], combination: Combination) -> None:
        self.members = tuple(members)
        self._combination = combination

    def score(self, prompts: Sequence[str], responses: Sequence[str]) -> Scored:
        """See `allgood.scoring.Scorer.score`. Prompts that any member had to cut are counted once."""
        scored = [member.score(prompts, responses) for member in self.members]
        rewards = self._combined(np.stack([part.rewards for part in scored]))
        return Scored(rewards, num_prompts_cut=max(part.num_prompts_cut for part in scored))

    def _combined(self, members: NDArray[np.float32]) -> NDArray[np.float32]:
        known = np.isfinite(members).all(axis=0)
        rewards = np.full(members.shape[1], np.nan, dtype=np.float32)
        if known.any():
            rewards[known] = self._combination(torch.from_numpy(members[:, known])).numpy()
        return rewards
