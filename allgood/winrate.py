"""Win rates of a policy against samples of pi_0 on the same prompts, and two policies compared.

The win rate of a property is P(score of a policy sample > score of an independent pi_0 sample on the same prompt), ties
counting one half: every pair of samples is compared. Intervals resample prompts (`intervals`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from allgood.checks import Number, require_finite
from allgood.intervals import Interval, Numbers, as_float64, cluster_bootstrap, prompt_means, wilson

__all__ = [
    "Comparison",
    "Interval",
    "both_win_rate_by_prompt",
    "cluster_bootstrap",
    "paired_comparison",
    "wilson",
    "win_rate",
    "win_rate_by_prompt",
]


@dataclass(frozen=True)
class Comparison:
    """Policy minus other policy on the same prompts: the mean difference, and how often it is above 0."""

    difference: Interval
    share_better: float
    share_worse: float


def win_rate_by_prompt(scores: Numbers, baseline: Numbers) -> Tensor:
    """Share of (policy sample, baseline sample) pairs that the policy wins, ties one half, [prompts] float64.

    Args:
        scores: Of the policy's samples, [prompts, samples].
        baseline: Of independent samples of pi_0 on the same prompts, [prompts, baseline samples].

    Raises:
        ValueError: Shapes do not fit, or a score is not finite.

    >>> win_rate_by_prompt([[1.0, 2.0]], [[1.0, 0.0]])
    tensor([0.8750], dtype=torch.float64)
    """
    mine, theirs = _pair("scores", scores, "baseline", baseline)
    ordered = theirs.sort(-1).values
    less = torch.searchsorted(ordered, mine, right=False)
    not_above = torch.searchsorted(ordered, mine, right=True)
    return (less + not_above).double().mean(-1) / (2 * theirs.shape[-1])


def win_rate(
    scores: Numbers,
    baseline: Numbers,
    *,
    seed: int | torch.Generator,
    num_resamples: int = 2000,
    confidence: Number = 0.95,
) -> Interval:
    """Mean win rate over prompts, with the interval from resampled prompts. Arguments as in `win_rate_by_prompt`."""
    by_prompt = win_rate_by_prompt(scores, baseline)
    return cluster_bootstrap(by_prompt, seed=seed, num_resamples=num_resamples, confidence=confidence)


def both_win_rate_by_prompt(scores: Mapping[str, Numbers], baseline: Mapping[str, Numbers]) -> Tensor:
    """Share of pairs in which the policy is at least as good in every property and better in one, [prompts] float64.

    Args:
        scores: Per property [prompts, samples].
        baseline: The same properties, [prompts, baseline samples].

    Raises:
        ValueError: The properties differ, there is none, shapes do not fit, or a score is not finite.
    """
    if set(scores) != set(baseline) or not scores:
        raise ValueError(
            f"scores and baseline must hold the same properties, got {sorted(scores)} and {sorted(baseline)}"
        )
    as_good: Tensor | None = None
    better: Tensor | None = None
    for name in scores:
        mine, theirs = _pair(f"scores[{name!r}]", scores[name], f"baseline[{name!r}]", baseline[name])
        difference = mine.unsqueeze(-1) - theirs.unsqueeze(-2)  # [prompts, samples, baseline samples]
        if as_good is not None and difference.shape != as_good.shape:
            raise ValueError(
                f"scores[{name!r}] and the other properties must have the same shape, got {tuple(difference.shape)} "
                f"and {tuple(as_good.shape)} for [prompts, samples, baseline samples]"
            )
        as_good = difference >= 0 if as_good is None else as_good & (difference >= 0)
        better = difference > 0 if better is None else better | (difference > 0)
    assert as_good is not None
    assert better is not None
    return (as_good & better).double().mean((-1, -2))


def paired_comparison(
    values: Numbers,
    other_values: Numbers,
    *,
    seed: int | torch.Generator,
    num_resamples: int = 2000,
    confidence: Number = 0.95,
) -> Comparison:
    """Mean over prompts of (policy - other policy) with its interval: prompts are resampled as pairs.

    Args:
        values: [prompts, samples] or [prompts].
        other_values: Of the other policy on the same prompts in the same order; samples may differ in number.
        seed: As in `cluster_bootstrap`.
        num_resamples: As there.
        confidence: As there.

    Raises:
        ValueError: Another number of prompts, no prompt, or a value is not finite.
    """
    mine, theirs = prompt_means("values", values), prompt_means("other_values", other_values)
    if len(mine) != len(theirs):
        raise ValueError(
            f"values and other_values must be about the same prompts, got {len(mine)} and {len(theirs)} prompts"
        )
    differences = mine - theirs
    interval = cluster_bootstrap(differences, seed=seed, num_resamples=num_resamples, confidence=confidence)
    return Comparison(interval, float((differences > 0).double().mean()), float((differences < 0).double().mean()))


def _pair(name: str, scores: Numbers, other_name: str, others: Numbers) -> tuple[Tensor, Tensor]:
    mine, theirs = as_float64(scores), as_float64(others)
    for side, numbers in ((name, mine), (other_name, theirs)):
        if numbers.ndim != 2 or numbers.numel() == 0:
            raise ValueError(f"{side} must be non-empty [prompts, samples], got shape {tuple(numbers.shape)}")
        require_finite(side, numbers)
    if len(mine) != len(theirs):
        raise ValueError(f"{name} and {other_name} must be about the same prompts, got {len(mine)} and {len(theirs)}")
    return mine.contiguous(), theirs.contiguous()
