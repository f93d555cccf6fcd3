"""From a batch to a loss: targets are computed once per update, losses once per micro-batch and epoch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from actors.learner_specs import ArmSpec, Ppo
from actors.messages import Batch, FloatRow
from actors.policy_gradient import (
    importance_weights,
    leave_one_out_advantages,
    ppo_loss,
    ppo_targets,
    rloo_loss,
    sequence_kl_k1,
)
from actors.token_logprobs import ResponseLogProbs
from actors.update_metrics import MetricSums


@dataclass(frozen=True)
class Start:
    """The learner's policy before the update: log-probs and (PPO) values of every response token, per row."""

    logprobs: tuple[FloatRow, ...]
    values: tuple[FloatRow, ...] = ()


@dataclass(frozen=True)
class MicroBatch:
    """A forward pass over some rows of a batch; `values` [rows, tokens] is absent without a value head."""

    rows: Sequence[int]
    padded: ResponseLogProbs
    values: Tensor | None


Loss = Callable[[MicroBatch, MetricSums], Tensor]  # the sum over the micro-batch's rows, not normalised


def objective(batch: Batch, start: Start, arm: ArmSpec, sums: MetricSums) -> Loss:
    """The loss of the arm's algorithm on this batch."""
    sums.add_start(batch, start.logprobs)
    if isinstance(arm.algorithm, Ppo):
        return _ppo(batch, start, arm, arm.algorithm, sums)
    return _rloo(batch, start, arm, sums)


def _rloo(batch: Batch, start: Start, arm: ArmSpec, sums: MetricSums) -> Loss:
    returns = batch.utilities - batch.kl_coefficient * sequence_kl_k1(start.logprobs, batch.reference_logprobs)
    advantages = leave_one_out_advantages(returns, batch.groups)
    weights = importance_weights(start.logprobs, batch.logprobs, maximum=arm.max_importance_weight)
    sums.add_advantages(advantages)

    def loss(micro: MicroBatch, sums: MetricSums) -> Tensor:
        rows, device = np.array(micro.rows), micro.padded.logprobs.device
        advantage = torch.tensor(advantages[rows], dtype=torch.float32, device=device)
        weight = torch.tensor(weights[rows], dtype=torch.float32, device=device)
        return rloo_loss(micro.padded.logprobs, advantage, weight)

    return loss


def _ppo(batch: Batch, start: Start, arm: ArmSpec, algorithm: Ppo, sums: MetricSums) -> Loss:
    targets = ppo_targets(
        start_logprobs=start.logprobs,
        behaviour_logprobs=batch.logprobs,
        reference_logprobs=batch.reference_logprobs,
        values=start.values,
        utilities=batch.utilities,
        kl_coefficient=batch.kl_coefficient,
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
