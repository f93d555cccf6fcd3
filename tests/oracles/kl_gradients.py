"""Every KL choice as a loss whose descent direction is its exact expected gradient, on the enumerable policy."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from allgood import kl, losses
from tests.oracles.enumerable_policy import (
    MASK,
    Problem,
    all_logprobs,
    descent_direction,
    expected,
    probabilities,
    relative_error,
    token_logprobs,
)

Penalty = Callable[[Tensor, Tensor], Tensor]
"""Of (log pi, log pi_0) per token, [responses, tokens] both."""

Loss = Callable[[Tensor, Tensor], Tensor]
"""Of the policy's and the reference policy's logits."""

ESTIMATORS: dict[str, Penalty] = {"k1": kl.k1, "k2": kl.k2, "k3": kl.k3}


def loss_of(estimator: str, placement: str) -> Loss:
    """The loss that stands for a `kl.choice`."""
    if estimator == "full":
        return full_as_reward if placement == "reward" else full_as_loss
    if estimator == "k2_sequence":
        return sequence_k2_as_loss
    return partial(as_reward if placement == "reward" else as_loss, ESTIMATORS[estimator])


def as_reward(penalty: Penalty, logits: Tensor, ref_logits: Tensor, *, later_tokens: bool = True) -> Tensor:
    """REINFORCE on minus the penalty; with later tokens each action answers for all that follows."""
    per_token = penalty(token_logprobs(logits), token_logprobs(ref_logits)).detach() * MASK
    to_go = per_token.flip(-1).cumsum(-1).flip(-1) if later_tokens else per_token
    return losses.reinforce(token_logprobs(logits), -to_go, MASK, weights=expected(logits))


def as_loss(penalty: Penalty, logits: Tensor, ref_logits: Tensor) -> Tensor:
    """The penalty of sampled responses, differentiated; that sampling depends on the policy too goes unnoticed."""
    per_token = penalty(token_logprobs(logits), token_logprobs(ref_logits)) * MASK
    return (probabilities(logits).detach() * per_token.sum(-1)).sum()


def sequence_k2_as_loss(logits: Tensor, ref_logits: Tensor) -> Tensor:
    """k2 of the log-probabilities of whole responses."""
    log_pi, log_pi_0 = token_logprobs(logits).sum(-1), token_logprobs(ref_logits).sum(-1)
    return (probabilities(logits).detach() * kl.k2(log_pi, log_pi_0)).sum()


def full_as_loss(logits: Tensor, ref_logits: Tensor) -> Tensor:
    """KL over the vocabulary at the positions visited, differentiated."""
    per_token = kl.full(all_logprobs(logits), all_logprobs(ref_logits)) * MASK
    return (probabilities(logits).detach() * per_token.sum(-1)).sum()


def full_as_reward(logits: Tensor, ref_logits: Tensor) -> Tensor:
    """The same as a reward. The KL at a position is known before its token is drawn: later positions only."""
    per_token = kl.full(all_logprobs(logits), all_logprobs(ref_logits)).detach() * MASK
    later = per_token.flip(-1).cumsum(-1).flip(-1) - per_token
    return losses.reinforce(token_logprobs(logits), -later, MASK, weights=expected(logits))


def error_of(loss: Loss, logits: Tensor, ref_logits: Tensor) -> float:
    """Distance of a loss' expected gradient from that of the KL itself, relative to the latter."""
    exact = Problem(ref_logits, torch.zeros(len(MASK), dtype=logits.dtype), 1.0).gradient(logits)
    return relative_error(descent_direction(lambda x: loss(x, ref_logits), logits), exact)
