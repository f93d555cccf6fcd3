"""KL(pi || pi_0): estimators per token, and what becomes of the gradient when each is used as reward or as loss.

The objective is E[u] - gamma * sum_t k1_t over all generated tokens, EOS included, in nats per response. Estimators
take log-probabilities of the sampled tokens under the policy and under the reference policy, [..., tokens], temperature
1; they compute in float32 and do not look for NaN (that would stop a GPU at every step). Gradients flow through
`logprob`.

Only some choices have the gradient of the objective; see `choice`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from allgood.checks import in_float, require_same_shape
from allgood.kl_controllers import AdaptiveController, FixedController, KlController, TargetKlController

__all__ = [
    "AdaptiveController",
    "FixedController",
    "KlChoice",
    "KlController",
    "TargetKlController",
    "choice",
    "full",
    "k1",
    "k2",
    "k3",
]

Estimator = Literal["k1", "k2", "k2_sequence", "k3", "full"]
Placement = Literal["reward", "loss"]


def k1(logprob: Tensor, ref_logprob: Tensor) -> Tensor:
    """log pi - log pi_0 per token: unbiased, of either sign. The default, inside the reward.

    As reward (detached; summed over the response, or over this and all later tokens): the exact gradient.
    As loss: its expected gradient is 0, so it regularises nothing.

    Args:
        logprob: Log-probabilities of the sampled tokens under the policy, [..., tokens].
        ref_logprob: The same under the reference policy.

    Raises:
        ValueError: Shapes differ.

    Source:
        Schulman 2020, "Approximating KL divergence".

    >>> k1(torch.tensor([-1.0]), torch.tensor([-1.5]))
    tensor([0.5000])
    """
    require_same_shape("logprob", logprob, "ref_logprob", ref_logprob)
    return in_float(logprob) - in_float(ref_logprob)


def k2(logprob: Tensor, ref_logprob: Tensor) -> Tensor:
    """(log pi - log pi_0)^2 / 2: never negative, biased as a value.

    As loss, on the log-probabilities of whole responses (k2 of the sequence sums): the exact gradient, on-policy.
    As loss per token: the KL of each token at the states visited, without the effect on later states: not exact.
    As reward: not exact. Arguments and errors as in `k1`.
    """
    return 0.5 * k1(logprob, ref_logprob).square()


def k3(logprob: Tensor, ref_logprob: Tensor) -> Tensor:
    """rho - 1 - log rho with rho = pi_0 / pi: unbiased and never negative, good for reading a KL off.

    As loss (GRPO) its expected gradient is that of the forward KL(pi_0 || pi) at the states visited, as reward that of
    another penalty: neither is exact, both together are. Arguments and errors as in `k1`.
    """
    log_ratio = k1(logprob, ref_logprob)
    return torch.expm1(-log_ratio) + log_ratio  # expm1 keeps the small differences that exp(x) - 1 rounds away


def full(logprobs: Tensor, ref_logprobs: Tensor) -> Tensor:
    """KL over the whole vocabulary at each position, sum_v pi(v) (log pi(v) - log pi_0(v)); exact per state.

    As loss: the effect of a token on later states is missing, so the gradient is not exact for responses of more than
    one token. As reward: only that effect is there. Both together are exact.

    Args:
        logprobs: Log-probabilities of every token, [..., tokens, vocabulary]; -inf where pi is 0.
        ref_logprobs: The same under the reference policy.

    Returns:
        Nats, [..., tokens].

    Raises:
        ValueError: Shapes differ.
    """
    require_same_shape("logprobs", logprobs, "ref_logprobs", ref_logprobs)
    logprobs, ref_logprobs = in_float(logprobs), in_float(ref_logprobs)
    possible = torch.isfinite(logprobs)
    log_ratio = torch.where(possible, logprobs - ref_logprobs, 0.0)
    return (logprobs.exp() * log_ratio).sum(-1)


@dataclass(frozen=True)
class KlChoice:
    """An estimator at a place, and whether its expected gradient is that of E[u] - gamma * KL(pi || pi_0)."""

    estimator: Estimator
    placement: Placement
    is_exact: bool
    note: str


def choice(estimator: str, placement: str) -> KlChoice:
    """What a choice of estimator and placement does to the gradient; show `note` to the user when it is not exact.

    Raises:
        ValueError: An unknown estimator or placement.
    """
    for known in _CHOICES:
        if (known.estimator, known.placement) == (estimator, placement):
            return known
    raise ValueError(
        f"no KL choice {estimator!r} as {placement!r}: estimators are k1, k2, k2_sequence (loss only), k3, full; "
        "placements are reward, loss"
    )


_CHOICES = (
    KlChoice("k1", "reward", True, "exact gradient of the KL-regularised objective"),
    KlChoice("k1", "loss", False, "k1 as a loss has no expected gradient: nothing holds the policy near pi_0"),
    KlChoice("k2", "reward", False, "k2 in the reward is the gradient of another penalty than KL(pi || pi_0)"),
    KlChoice("k2", "loss", False, "per-token k2 as a loss ignores later tokens; k2_sequence does not"),
    KlChoice("k2_sequence", "loss", True, "k2 of whole responses as a loss: exact gradient, on-policy"),
    KlChoice("k3", "reward", False, "k3 in the reward is the gradient of another penalty than KL(pi || pi_0)"),
    KlChoice("k3", "loss", False, "k3 as a loss follows the forward KL(pi_0 || pi) and ignores later tokens"),
    KlChoice("full", "reward", False, "full-vocabulary KL in the reward sees later tokens only"),
    KlChoice("full", "loss", False, "full-vocabulary KL as a loss ignores later tokens"),
)
