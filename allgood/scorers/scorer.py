"""Scoring responses: texts in, one reward per response out.

A scorer knows nothing about reinforcement learning, Ray or files. Rewards are float32; a reward that could not be
computed is NaN, never a number: after the log-sigmoid 0 is the best utility there is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Scored:
    """One reward per response, [responses] float32, NaN where scoring failed; `reasons` say why, as far as known."""

    rewards: NDArray[np.float32]
    num_prompts_cut: int = 0
    reasons: Mapping[int, str] = field(default_factory=dict)


@runtime_checkable
class Scorer(Protocol):
    """Anything that gives responses a reward."""

    def score(self, prompts: Sequence[str], responses: Sequence[str]) -> Scored:
        """Rewards of responses to prompts; row i is `responses[i]` to `prompts[i]`."""
        ...


def joined(parts: Sequence[Scored]) -> Scored:
    """The rows of several parts, one after the other.

    >>> first, second = Scored(np.float32([1.0, 2.0])), Scored(np.float32([np.nan]), 1, {0: "too long"})
    >>> joined([first, second])
    Scored(rewards=array([ 1.,  2., nan], dtype=float32), num_prompts_cut=1, reasons={2: 'too long'})
    """
    if not parts:
        return Scored(np.zeros(0, dtype=np.float32))
    starts = np.cumsum([0, *(len(part.rewards) for part in parts)]).tolist()
    reasons = {
        start + row: reason
        for start, part in zip(starts, parts, strict=False)  # the last start is the end
        for row, reason in part.reasons.items()
    }
    return Scored(
        np.concatenate([part.rewards for part in parts]), sum(part.num_prompts_cut for part in parts), reasons
    )


def nan_if_infinite(rewards: NDArray[np.float32]) -> NDArray[np.float32]:
    """The rewards with infinity turned into NaN: both mean that scoring failed."""
    return np.where(np.isfinite(rewards), rewards, np.float32(np.nan))
