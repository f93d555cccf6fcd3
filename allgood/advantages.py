"""Advantages: from returns R = u - gamma * sum_t k1_t (KL subtracted before any baseline) to what a loss weighs.

Groups are the responses to one prompt: [prompts, samples], or [rows] with a group id per row when samples were dropped
and groups are ragged. Nothing here divides by a group's standard deviation: that would erase how far a prompt is from
good, which is what the log-sigmoid measures (see `guards`).
"""

from __future__ import annotations

import torch
from torch import Tensor

from allgood.checks import in_float, require_finite, require_same_shape, require_shape
from allgood.number_checks import Number, require_unit


def rloo(returns: Tensor, groups: Tensor | None = None) -> Tensor:
    """Leave-one-out advantage: R_i minus the mean of the other returns of its prompt.

    Args:
        returns: [prompts, samples], or [rows] with `groups`.
        groups: Integer id of each row's prompt, [rows]; groups may differ in size.

    Returns:
        Advantages in the shape of `returns`.

    Raises:
        ValueError: A group has a single member (drop that prompt), shapes do not fit, or a return is not finite.

    Source:
        Kool et al. 2019; Ahmadian et al. 2024, arXiv:2402.14740.

    >>> rloo(torch.tensor([[1.0, 2.0, 6.0]]))
    tensor([[-3.0000, -1.5000,  4.5000]])
    """
    if groups is None:
        returns = _in_groups(returns, at_least=2)
        num_samples = returns.shape[1]
        return (returns - returns.mean(1, keepdim=True)) * (num_samples / (num_samples - 1))
    returns, inverse, counts = _ragged(returns, groups, at_least=2)
    size = counts[inverse].to(returns.dtype)
    return (returns - _group_means(returns, inverse, counts)) * (size / (size - 1))


def group_mean(returns: Tensor, groups: Tensor | None = None) -> Tensor:
    """R_i minus the mean of its prompt's returns, itself included: GRPO without the standard deviation.

    It is (k - 1)/k times the leave-one-out advantage. Arguments and errors as in `rloo`.

    Source:
        Dr. GRPO, arXiv:2503.20783.
    """
    if groups is None:
        returns = _in_groups(returns, at_least=2)
        return returns - returns.mean(1, keepdim=True)
    returns, inverse, counts = _ragged(returns, groups, at_least=2)
    return returns - _group_means(returns, inverse, counts)


def gae(
    rewards: Tensor, values: Tensor, mask: Tensor | None = None, *, discount: Number = 1.0, gae_lambda: Number = 1.0
) -> Tensor:
    """Generalised advantage estimates per token; the value after a response's last token is 0.

    The target of the value head is advantage + value.

    Args:
        rewards: [rows, tokens]: -gamma * k1_t at every token, plus u at the last.
        values: Value head's predictions, [rows, tokens].
        mask: True at response tokens, which come first in their row (padding on the right); absent: all.
        discount: In [0, 1]; 1 keeps the objective's own KL weight.
        gae_lambda: In [0, 1]; 1 gives unbiased returns minus values.

    Returns:
        Advantages [rows, tokens], 0 at padding.

    Raises:
        ValueError: Shapes differ, padding on the left or inside, a factor outside [0, 1], or a kept reward or value
            that is not finite.

    Source:
        Schulman et al. 2016, arXiv:1506.02438.
    """
    require_shape("rewards", rewards, 2, "[rows, tokens]")
    require_same_shape("rewards", rewards, "values", values)
    decay = require_unit("discount", discount) * require_unit("gae_lambda", gae_lambda)
    mask = _right_padded(rewards, mask)
    require_finite("rewards", rewards[mask])
    require_finite("values", values[mask])
    kept = mask.to(torch.promote_types(in_float(rewards).dtype, in_float(values).dtype))
    rewards, values = torch.where(mask, in_float(rewards), 0.0), torch.where(mask, in_float(values), 0.0)
    following = torch.cat([values[:, 1:], torch.zeros_like(values[:, :1])], dim=1)
    deltas = rewards + discount * following - values
    running = torch.zeros_like(deltas[:, 0])
    advantages = []
    for token in range(deltas.shape[1] - 1, -1, -1):
        running = (deltas[:, token] + decay * running) * kept[:, token]
        advantages.append(running)
    return torch.stack(advantages[::-1], dim=1)


def _in_groups(returns: Tensor, *, at_least: int) -> Tensor:
    require_shape("returns", returns, 2, "[prompts, samples] (or give groups)")
    if returns.shape[1] < at_least:
        raise ValueError(f"returns must hold at least {at_least} samples per prompt, got {returns.shape[1]}")
    require_finite("returns", returns)
    return in_float(returns)


def _ragged(returns: Tensor, groups: Tensor, *, at_least: int) -> tuple[Tensor, Tensor, Tensor]:
    """Returns [rows], the index of each row's group, and the size of each group."""
    require_shape("returns", returns, 1, "[rows] when groups are given")
    require_same_shape("returns", returns, "groups", groups)
    if groups.is_floating_point():
        raise ValueError(f"groups must be integer ids, got {groups.dtype}")
    require_finite("returns", returns)
    ids, inverse, counts = torch.unique(groups, return_inverse=True, return_counts=True)
    if int(counts.min()) < at_least:
        raise ValueError(
            f"groups must have at least {at_least} rows each, but group {int(ids[counts.argmin()])} has "
            f"{int(counts.min())}; drop a prompt that lost its samples"
        )
    return in_float(returns), inverse, counts


def _group_means(returns: Tensor, inverse: Tensor, counts: Tensor) -> Tensor:
    """Mean of each row's group, [rows]."""
    sums = torch.zeros(len(counts), dtype=returns.dtype, device=returns.device).index_add(0, inverse, returns)
    return (sums / counts)[inverse]


def _right_padded(rewards: Tensor, mask: Tensor | None) -> Tensor:
    if mask is None:
        return torch.ones_like(rewards, dtype=torch.bool)
    require_same_shape("rewards", rewards, "mask", mask)
    mask = mask.bool()
    if (mask[:, 1:] & ~mask[:, :-1]).any():
        raise ValueError(
            "mask must be True at the first tokens of each row and False after: padding stands on the right"
        )
    return mask
