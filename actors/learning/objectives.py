"""From a batch to a loss: targets are computed once per update, losses once per micro-batch and epoch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from actors.learning.policy_gradient import (
    Float64Row,
    batch_mean_advantages,
    group_mean_advantages,
    importance_weights,
    kl_loss,
    leave_one_out_advantages,
    ppo_loss,
    ppo_targets,
    rloo_loss,
    token_kl,
)
from actors.learning.specs import Algorithm, ArmSpec, Grpo, Kl, Ppo, Reinforce
from actors.learning.token_logprobs import ResponseLogProbs
from actors.learning.update_metrics import MetricSums
from actors.messages import Batch, FloatRow


@dataclass(frozen=True)
class Start:
    """The learner's policy before the update: per row, log-probs and (where they are used) values and full-vocabulary
    KL of every response token.
    """

    logprobs: tuple[FloatRow, ...]
    values: tuple[FloatRow, ...] = ()
    full_kl: tuple[FloatRow, ...] = ()


@dataclass(frozen=True)
class MicroBatch:
    """A forward pass over some rows of a batch; `values` [rows, tokens] is absent without a value head."""

    rows: Sequence[int]
    padded: ResponseLogProbs
    values: Tensor | None


Loss = Callable[[MicroBatch, MetricSums], Tensor]  # the sum over the micro-batch's rows, not normalised


def objective(
    batch: Batch, start: Start, arm: ArmSpec, sums: MetricSums, *, total: Callable[[float], float] = float
) -> Loss:
    """The loss of the arm's algorithm on this batch; `total` sums a number over all learners."""
    sums.add_start(batch, start.logprobs)
    if isinstance(arm.algorithm, Ppo):
        loss = _ppo(batch, start, arm, arm.algorithm, sums)
    else:
        loss = _whole_responses(batch, start, arm, sums, total)
    return loss if arm.kl.placement == "reward" else _with_kl_loss(loss, batch, arm.kl)


def _whole_responses(
    batch: Batch, start: Start, arm: ArmSpec, sums: MetricSums, total: Callable[[float], float]
) -> Loss:
    """A response is one action; the algorithms differ in their baseline."""
    advantages = _advantages(_returns(batch, start, arm.kl), batch.groups, arm.algorithm, total)
    weights = importance_weights(start.logprobs, batch.logprobs, maximum=arm.max_importance_weight)
    sums.add_advantages(advantages)

    def loss(micro: MicroBatch, sums: MetricSums) -> Tensor:
        rows, device = np.array(micro.rows), micro.padded.logprobs.device
        advantage = torch.tensor(advantages[rows], dtype=torch.float32, device=device)
        weight = torch.tensor(weights[rows], dtype=torch.float32, device=device)
        return rloo_loss(micro.padded.logprobs, advantage, weight)

    return loss


def _returns(batch: Batch, start: Start, kl: Kl) -> Float64Row:
    """R = u - gamma * KL of the response, [rows]; u alone where the KL is a loss of its own."""
    penalties = [row.sum() for row in _penalties(batch, start, kl)]
    return batch.utilities.astype(np.float64) - np.array(penalties, dtype=np.float64)


def _penalties(batch: Batch, start: Start, kl: Kl) -> list[Float64Row]:
    """gamma * KL per token, inside the reward; 0 where the KL is a loss of its own."""
    if kl.placement == "loss":
        return [np.zeros(len(row)) for row in start.logprobs]
    if kl.estimator == "full":
        return [batch.kl_coefficient * row.astype(np.float64) for row in start.full_kl]
    pairs = zip(start.logprobs, batch.reference_logprobs, strict=True)
    return [batch.kl_coefficient * token_kl(own, reference, kl.estimator) for own, reference in pairs]


def _advantages(
    returns: Float64Row, groups: NDArray[np.int64], algorithm: Algorithm, total: Callable[[float], float]
) -> Float64Row:
    if isinstance(algorithm, Reinforce):
        return batch_mean_advantages(returns, total=total)
    if isinstance(algorithm, Grpo):
        return group_mean_advantages(returns, groups, scale=algorithm.scale)
    return leave_one_out_advantages(returns, groups)


def _with_kl_loss(loss: Loss, batch: Batch, kl: Kl) -> Loss:
    """The loss plus gamma * sum of the estimator over tokens, which carries its own gradient."""

    def with_kl(micro: MicroBatch, sums: MetricSums) -> Tensor:
        if kl.estimator == "full":
            assert micro.padded.full_kl is not None
            penalty = micro.padded.full_kl.sum()
        else:
            penalty = kl_loss(micro.padded.logprobs, micro.rows, batch.reference_logprobs, kl.estimator)
        return loss(micro, sums) + batch.kl_coefficient * penalty

    return with_kl


def _ppo(batch: Batch, start: Start, arm: ArmSpec, algorithm: Ppo, sums: MetricSums) -> Loss:
    targets = ppo_targets(
        start_logprobs=start.logprobs,
        behaviour_logprobs=batch.logprobs,
        penalties=_penalties(batch, start, arm.kl),
        values=start.values,
        utilities=batch.utilities,
        max_importance_weight=arm.max_importance_weight,
        algorithm=algorithm,
    )
    sums.add_advantages(np.concatenate([*targets.advantages, np.empty(0, np.float32)]))  # a shard may have no rows

    def loss(micro: MicroBatch, sums: MetricSums) -> Tensor:
        assert micro.values is not None
        parts = ppo_loss(micro.padded.logprobs, micro.values, micro.padded.mask, micro.rows, targets, algorithm)
        sums.add(value_loss=parts.value.item(), clipped=parts.num_clipped.item())
        return parts.total

    return loss
