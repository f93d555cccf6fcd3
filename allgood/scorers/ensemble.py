"""Several reward models as one scorer: their rewards of a response are combined before the reference is subtracted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from allgood import ensembles
from allgood.scorers.combination import Combination, LowerBound, Mean, Median, Min
from allgood.scorers.model_scorer import ModelScorer
from allgood.scorers.scorer import Scored


class EnsembleScorer:
    """Scores with every member; a response that one member cannot score has no reward."""

    def __init__(self, members: Sequence[ModelScorer], combination: Combination) -> None:
        self.members = tuple(members)
        self._combination = combination

    def score(self, prompts: Sequence[str], responses: Sequence[str]) -> Scored:
        """See `scorer.Scorer.score`. Prompts that any member had to cut are counted once."""
        scored = [member.score(prompts, responses) for member in self.members]
        rewards = self._combined(np.stack([part.rewards for part in scored]))
        reasons = {row: reason for part in scored for row, reason in part.reasons.items()}
        return Scored(rewards, max(part.num_prompts_cut for part in scored), reasons)

    def _combined(self, members: NDArray[np.float32]) -> NDArray[np.float32]:
        known = np.isfinite(members).all(axis=0)
        rewards = np.full(members.shape[1], np.nan, dtype=np.float32)
        if known.any():
            rewards[known] = combine(self._combination, torch.from_numpy(members[:, known])).numpy()
        return rewards


def combine(combination: Combination, members: Float[Tensor, "members responses"]) -> Float[Tensor, " responses"]:
    """One reward per response.

    Raises:
        ValueError: No member, or a value is not finite.
    """
    match combination:
        case Mean():
            return ensembles.ensemble_mean(members)
        case Median():
            return ensembles.ensemble_median(members)
        case Min():
            return ensembles.ensemble_min(members)
        case LowerBound():
            return ensembles.ensemble_lower_bound(members, penalty=combination.penalty)
