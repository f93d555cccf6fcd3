"""Win rates of a policy against samples of pi_0 on the same prompts.

The win rate of a property is P(score of a policy sample > score of an independent pi_0 sample on the same prompt), ties
counting one half: every pair of samples is compared. A failed score (NaN or infinite) meets nobody, and a prompt
without a pair has no win rate (NaN). Intervals resample prompts (`intervals`).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from allgood.intervals import Numbers, as_float64


def win_rate_by_prompt(scores: Numbers, baseline: Numbers) -> Tensor:
    """Share of (policy sample, baseline sample) pairs that the policy wins, ties one half, [prompts] float64.

    Args:
        scores: Of the policy's samples, [prompts, samples]; NaN where scoring failed.
        baseline: Of independent samples of pi_0 on the same prompts, [prompts, baseline samples].

    Raises:
        ValueError: Shapes do not fit.

    >>> win_rate_by_prompt([[1.0, 2.0], [3.0, torch.nan]], [[1.0, 0.0], [torch.nan, 4.0]])
    tensor([0.8750, 0.0000], dtype=torch.float64)
    """
    mine, theirs = _pair("scores", scores, "baseline", baseline)
    known, met = torch.isfinite(mine), torch.isfinite(theirs)
    ordered = torch.where(met, theirs, torch.inf).sort(-1).values
    less = torch.searchsorted(ordered, mine, right=False)
    not_above = torch.searchsorted(ordered, mine, right=True)
    half_wins = torch.where(known, less + not_above, 0).sum(-1)
    return half_wins.double() / (2 * known.sum(-1) * met.sum(-1))


def both_win_rate_by_prompt(scores: Mapping[str, Numbers], baseline: Mapping[str, Numbers]) -> Tensor:
    """Share of pairs in which the policy is at least as good in every property and better in one, [prompts] float64.

    Args:
        scores: Per property [prompts, samples]; a sample that failed in one property meets nobody.
        baseline: The same properties, [prompts, baseline samples].

    Raises:
        ValueError: The properties differ, there is none, or shapes do not fit.
    """
    if set(scores) != set(baseline) or not scores:
        raise ValueError(
            f"scores and baseline must hold the same properties, got {sorted(scores)} and {sorted(baseline)}"
        )
    differences = {
        name: _difference(*_pair(f"scores[{name!r}]", scores[name], f"baseline[{name!r}]", baseline[name]))
        for name in scores
    }
    shapes = {name: tuple(difference.shape) for name, difference in differences.items()}
    if len(set(shapes.values())) > 1:
        raise ValueError(
            f"all properties must have the same shape, got {shapes} for [prompts, samples, baseline samples]"
        )
    stacked = torch.stack(list(differences.values()))
    won = (stacked >= 0).all(0) & (stacked > 0).any(0)  # NaN is neither
    return won.sum((-1, -2)).double() / torch.isfinite(stacked).all(0).sum((-1, -2))


def _difference(mine: Tensor, theirs: Tensor) -> Tensor:
    """Of every pair, [prompts, samples, baseline samples]; NaN where one of the two failed."""
    first, second = (torch.where(torch.isfinite(side), side, torch.nan) for side in (mine, theirs))
    return first.unsqueeze(-1) - second.unsqueeze(-2)


def _pair(name: str, scores: Numbers, other_name: str, others: Numbers) -> tuple[Tensor, Tensor]:
    mine, theirs = as_float64(scores), as_float64(others)
    for side, numbers in ((name, mine), (other_name, theirs)):
        if numbers.ndim != 2 or numbers.numel() == 0:
            raise ValueError(f"{side} must be non-empty [prompts, samples], got shape {tuple(numbers.shape)}")
    if len(mine) != len(theirs):
        raise ValueError(f"{name} and {other_name} must be about the same prompts, got {len(mine)} and {len(theirs)}")
    return mine.contiguous(), theirs.contiguous()
