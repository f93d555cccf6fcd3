"""The two policy gradients, as plain formulas on the rows of a batch.

RLOO treats a response as one action: R_i = u_i - gamma * sum_t k1_t, the baseline is the mean R of the other responses
to the prompt, and the loss is -sum_i advantage_i * sum_t log pi, divided later by the number of responses and never by
their lengths. PPO spreads the same return over tokens: -gamma * k1_t at each token, u at the last, GAE on top.

Groups are ragged (failed scores have left them), so everything here is per row. Targets are numpy, computed in float64
once per update; losses are torch, sums over the rows of a micro-batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from actors.learner_specs import Ppo
from actors.messages import FloatRow

Float64Row = NDArray[np.float64]


def sequence_kl_k1(logprobs: Sequence[FloatRow], reference_logprobs: Sequence[FloatRow]) -> Float64Row:
    """sum_t (log pi - log pi_0) of each response, [rows], in nats."""
    pairs = zip(logprobs, reference_logprobs, strict=True)
    return np.array([np.sum(row - ref, dtype=np.float64) for row, ref in pairs], dtype=np.float64)


def leave_one_out_advantages(returns: Float64Row, groups: NDArray[np.int64]) -> Float64Row:
    """R_i minus the mean of the other returns of its group, [rows].

    Raises:
        ValueError: A group has a single row, so there is no baseline.
    """
    _, inverse, counts = np.unique(groups, return_inverse=True, return_counts=True)
    if counts.size and counts.min() < 2:
        raise ValueError("every prompt of a batch needs at least 2 responses; drop the prompts that lost theirs")
    sums = np.bincount(inverse, weights=returns)
    others = (sums[inverse] - returns) / (counts[inverse] - 1)
    return returns - others


def importance_weights(start: Sequence[FloatRow], behaviour: Sequence[FloatRow], *, maximum: float) -> Float64Row:
    """Pi / behaviour of each whole response, truncated at `maximum`, [rows]."""
    return np.exp(np.minimum(sequence_kl_k1(start, behaviour), np.log(maximum)))


def rloo_loss(logprobs: Tensor, advantages: Tensor, weights: Tensor) -> Tensor:
    """-sum over rows of weight * advantage * sum_t log pi; `logprobs` [rows, tokens] is 0 at padding."""
    return -(weights * advantages * logprobs.sum(-1)).sum()


@dataclass(frozen=True)
class PpoTargets:
    """Per-token targets of PPO, one array per row, fixed for all epochs of an update."""

    start_logprobs: tuple[FloatRow, ...]
    start_values: tuple[FloatRow, ...]
    advantages: tuple[FloatRow, ...]
    returns: tuple[FloatRow, ...]
    weights: tuple[FloatRow, ...]  # truncated importance weights, 1 for a batch of the learner's own version


def ppo_targets(
    *,
    start_logprobs: Sequence[FloatRow],
    behaviour_logprobs: Sequence[FloatRow],
    reference_logprobs: Sequence[FloatRow],
    values: Sequence[FloatRow],
    utilities: FloatRow,
    kl_coefficient: float,
    max_importance_weight: float,
    algorithm: Ppo,
) -> PpoTargets:
    """Rewards per token, their GAE advantages, and the returns that the value head should predict."""
    advantages, returns, weights = [], [], []
    for row, start in enumerate(start_logprobs):
        rewards = -kl_coefficient * (start.astype(np.float64) - reference_logprobs[row])
        rewards[-1] += utilities[row]
        advantage = gae(rewards, values[row], discount=algorithm.discount, gae_lambda=algorithm.gae_lambda)
        advantages.append(advantage.astype(np.float32))
        returns.append((advantage + values[row]).astype(np.float32))
        weights.append(
            np.exp(np.minimum(start - behaviour_logprobs[row], np.log(max_importance_weight))).astype(np.float32)
        )
    return PpoTargets(tuple(start_logprobs), tuple(values), tuple(advantages), tuple(returns), tuple(weights))


def gae(rewards: Float64Row, values: FloatRow, *, discount: float, gae_lambda: float) -> Float64Row:
    """Generalised advantage estimates of one response, [tokens]; the value after the last token is 0."""
    following = np.append(values[1:], 0.0).astype(np.float64)
    deltas = rewards + discount * following - values
    advantages = np.empty_like(deltas)
    running = 0.0
    for token in range(len(deltas) - 1, -1, -1):
        running = deltas[token] + discount * gae_lambda * running
        advantages[token] = running
    return advantages


@dataclass(frozen=True)
class PpoLoss:
    """Sums over the tokens of a micro-batch; `total` carries the gradient."""

    total: Tensor
    policy: Tensor
    value: Tensor
    num_clipped: Tensor


def ppo_loss(
    logprobs: Tensor, values: Tensor, mask: Tensor, rows: Sequence[int], targets: PpoTargets, algorithm: Ppo
) -> PpoLoss:
    """Clipped policy loss plus `value_coefficient` times the clipped value loss, over [rows, tokens]."""
    device = logprobs.device
    old, old_values, advantages, returns, weights = (
        pad_rows([field[row] for row in rows], device)
        for field in (
            targets.start_logprobs,
            targets.start_values,
            targets.advantages,
            targets.returns,
            targets.weights,
        )
    )
    ratio = torch.where(mask, logprobs - old, 0.0).exp()
    clipped = ratio.clamp(1.0 - algorithm.clip, 1.0 + algorithm.clip)
    policy = torch.where(mask, -weights * torch.minimum(ratio * advantages, clipped * advantages), 0.0).sum()
    near = old_values + (values - old_values).clamp(-algorithm.value_clip, algorithm.value_clip)
    errors = torch.maximum((values - returns).square(), (near - returns).square())
    value = torch.where(mask, 0.5 * errors, 0.0).sum()
    num_clipped = ((clipped * advantages < ratio * advantages) & mask).sum()
    return PpoLoss(policy + algorithm.value_coefficient * value, policy, value, num_clipped)


def pad_rows(rows: Sequence[FloatRow], device: torch.device) -> Tensor:
    """Ragged rows as one [rows, tokens] float32 tensor, 0 at padding."""
    padded = np.zeros((len(rows), max(len(row) for row in rows)), dtype=np.float32)
    for index, row in enumerate(rows):
        padded[index, : len(row)] = row
    return torch.from_numpy(padded).to(device)
