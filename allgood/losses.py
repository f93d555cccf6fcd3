"""Policy and value losses. Log-probabilities are those of the sampled tokens, [rows, tokens], temperature 1.

Every loss is a sum over a response's tokens and a mean over responses: dividing by length would weigh a token of a
short response more, and the optimum would no longer be that of E[u] - gamma * KL. Per-token code does not look for NaN;
the boundary (whoever builds the batch) does.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from allgood.checks import in_float, require_same_shape, require_shape
from allgood.number_checks import Number, require_positive

_MAX_LOG_RATIO = 20.0


def reinforce(
    logprobs: Tensor, advantages: Tensor, mask: Tensor | None = None, *, weights: Tensor | None = None
) -> Tensor:
    """-mean over responses of advantage * sum_t log pi.

    Args:
        logprobs: [rows, tokens], with gradient.
        advantages: [rows] for the response as one action (RLOO), or [rows, tokens].
        mask: True at response tokens, EOS included; absent: all.
        weights: Importance weights in the shape of `advantages`, see `truncated_importance`; absent: on-policy.

    Returns:
        A number whose gradient is minus the policy gradient.

    Raises:
        ValueError: Shapes do not fit.

    Source:
        Williams 1992.

    >>> reinforce(torch.tensor([[-1.0, -2.0]]), torch.tensor([2.0]))
    tensor(6.)
    """
    logprobs, mask = _tokens("logprobs", logprobs, mask)
    factor = _per_token("advantages", advantages, logprobs)
    if weights is not None:
        factor = factor * _per_token("weights", weights, logprobs)
    return -torch.where(mask, factor * logprobs, 0.0).sum(-1).mean()


def ppo_clip(
    logprobs: Tensor,
    old_logprobs: Tensor,
    advantages: Tensor,
    mask: Tensor | None = None,
    *,
    clip: Number = 0.2,
    weights: Tensor | None = None,
) -> Tensor:
    """-mean over responses of sum_t min(ratio * A, clip(ratio, 1 - clip, 1 + clip) * A), ratio = pi / pi_old.

    The ratio is cut to e^+-20, far outside any clip: from e^88 on it would be infinite and the gradient NaN. A token
    beyond has no gradient.

    Args:
        logprobs: [rows, tokens], with gradient.
        old_logprobs: The same tokens under the policy at the start of the update.
        advantages: [rows, tokens] or [rows].
        mask: True at response tokens; absent: all.
        clip: In (0, 1).
        weights: As in `reinforce`: pi_old / behaviour policy, truncated.

    Raises:
        ValueError: Shapes do not fit, or clip outside (0, 1).

    Source:
        Schulman et al. 2017, arXiv:1707.06347.
    """
    ratio, clipped, factor, mask = _ratios(logprobs, old_logprobs, advantages, mask, clip)
    surrogate = torch.minimum(ratio * factor, clipped * factor)
    if weights is not None:
        surrogate = surrogate * _per_token("weights", weights, ratio)
    return -torch.where(mask, surrogate, 0.0).sum(-1).mean()


def clip_fraction(
    logprobs: Tensor, old_logprobs: Tensor, advantages: Tensor, mask: Tensor | None = None, *, clip: Number = 0.2
) -> Tensor:
    """Share of response tokens whose gradient `ppo_clip` cuts off. Arguments and errors as there."""
    ratio, clipped, factor, mask = _ratios(logprobs.detach(), old_logprobs, advantages, mask, clip)
    return ((clipped * factor < ratio * factor) & mask).sum() / mask.sum().clamp(min=1)


def value_clip(
    values: Tensor, old_values: Tensor, returns: Tensor, mask: Tensor | None = None, *, clip: Number = 0.2
) -> Tensor:
    """Mean over responses of sum_t max((V - R)^2, (V_old + clip(V - V_old, +-clip) - R)^2) / 2.

    Args:
        values: [rows, tokens], with gradient.
        old_values: Values at the start of the update.
        returns: Advantage + old value, [rows, tokens].
        mask: True at response tokens; absent: all.
        clip: Above 0.

    Raises:
        ValueError: Shapes do not fit, or clip not above 0.

    Source:
        PPO as in Schulman et al.'s own implementation; Engstrom et al. 2020, arXiv:2005.12729.
    """
    clip = require_positive("clip", clip)
    values, mask = _tokens("values", values, mask)
    require_same_shape("values", values, "old_values", old_values)
    require_same_shape("values", values, "returns", returns)
    old_values, returns = in_float(old_values).detach(), in_float(returns).detach()
    near = old_values + (values - old_values).clamp(-clip, clip)
    errors = torch.maximum((values - returns).square(), (near - returns).square())
    return torch.where(mask, 0.5 * errors, 0.0).sum(-1).mean()


def truncated_importance(logprobs: Tensor, behaviour_logprobs: Tensor, *, maximum: Number = 2.0) -> Tensor:
    """min(pi / behaviour, maximum), without gradient: corrects for samples of an older policy.

    Args:
        logprobs: [rows] sums over whole responses (for `reinforce`), or [rows, tokens] (for `ppo_clip`).
        behaviour_logprobs: The same under the policy that sampled them.
        maximum: At least 1. It bounds the variance at the price of a bias where it bites.

    Raises:
        ValueError: Shapes differ, or maximum below 1.

    Source:
        Ionides 2008; IMPALA, arXiv:1802.01561.

    >>> truncated_importance(torch.tensor([0.0, 3.0]), torch.tensor([0.0, 0.0]), maximum=2.0)
    tensor([1., 2.])
    """
    if not (math.isfinite(maximum) and maximum >= 1):
        raise ValueError(f"maximum must be finite and at least 1, got {maximum}")
    require_same_shape("logprobs", logprobs, "behaviour_logprobs", behaviour_logprobs)
    log_ratio = in_float(logprobs.detach()) - in_float(behaviour_logprobs)
    return log_ratio.clamp(max=math.log(maximum)).exp()


def _ratios(
    logprobs: Tensor, old_logprobs: Tensor, advantages: Tensor, mask: Tensor | None, clip: Number
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    if not 0 < clip < 1:
        raise ValueError(f"clip must lie in (0, 1), got {clip}")
    logprobs, mask = _tokens("logprobs", logprobs, mask)
    require_same_shape("logprobs", logprobs, "old_logprobs", old_logprobs)
    factor = _per_token("advantages", advantages, logprobs)
    # Masked before exp: an infinite ratio at padding would make the gradient NaN.
    log_ratio = torch.where(mask, logprobs - in_float(old_logprobs).detach(), 0.0)
    ratio = log_ratio.clamp(-_MAX_LOG_RATIO, _MAX_LOG_RATIO).exp()
    return ratio, ratio.clamp(1.0 - clip, 1.0 + clip), factor, mask


def _tokens(name: str, values: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Values and mask [rows, tokens]; values at padding become 0, whatever stood there."""
    require_shape(name, values, 2, "[rows, tokens]")
    if mask is None:
        return in_float(values), torch.ones_like(values, dtype=torch.bool)
    require_same_shape(name, values, "mask", mask)
    return torch.where(mask.bool(), in_float(values), 0.0), mask.bool()


def _per_token(name: str, values: Tensor, tokens: Tensor) -> Tensor:
    """`values` alongside every token, without gradient."""
    if values.shape not in (tokens.shape, tokens.shape[:1]):
        raise ValueError(
            f"{name} must have shape {tuple(tokens.shape[:1])} or {tuple(tokens.shape)}, got {tuple(values.shape)}"
        )
    values = in_float(values).detach()
    return values.unsqueeze(-1) if values.ndim == 1 else values
