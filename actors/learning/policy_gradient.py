"""The policy gradients on the ragged rows of a batch; the formulas are those of `allgood`.

RLOO treats a response as one action: R_i = u_i - gamma * sum_t k1_t, the baseline is the mean R of the other responses
to the prompt, and the loss is -sum_i advantage_i * sum_t log pi, divided later by the number of responses and never by
their lengths. GRPO and REINFORCE differ in the baseline only. PPO spreads the same return over tokens: -gamma * k1_t at
each token, u at the last, GAE on top. Another estimator may stand for k1, in the reward or as a loss of its own.

Targets are computed in float64 once per update; losses are sums over the rows of a micro-batch, because the mean is
over the rows of all micro-batches and learners.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from actors.learning.sequence_kl import sequence_k1
from actors.learning.specs import Ppo
from actors.messages import FloatRow
from allgood import advantages, aggregation, kl, losses

Float64Row = NDArray[np.float64]
ESTIMATORS = {"k1": kl.k1, "k2": kl.k2, "k3": kl.k3}


def leave_one_out_advantages(returns: Float64Row, groups: NDArray[np.int64]) -> Float64Row:
    """R_i minus the mean of the other returns of its group, [rows]; no rows (an empty shard) have no advantages.

    A return that is not finite makes all advantages NaN: the learner refuses the step by its gradient, which all
    learners of a group see, while an error here would leave the others waiting.

    Raises:
        ValueError: A group has a single row, so there is no baseline.
    """
    if not len(returns):
        return returns
    if not np.isfinite(returns).all():
        return np.full_like(returns, np.nan)
    found: Float64Row = advantages.rloo(torch.from_numpy(returns), torch.from_numpy(groups)).numpy()
    return found


def group_mean_advantages(returns: Float64Row, groups: NDArray[np.int64], *, scale: str) -> Float64Row:
    """R_i minus the mean of its group (GRPO), [rows]; with `scale` "std" divided by the group's standard deviation.

    Empty shards, returns that are not finite and errors as in `leave_one_out_advantages`.
    """
    if not len(returns):
        return returns
    if not np.isfinite(returns).all():
        return np.full_like(returns, np.nan)
    if scale == "none":
        found: Float64Row = advantages.group_mean(torch.from_numpy(returns), torch.from_numpy(groups)).numpy()
        return found
    scaled = np.empty_like(returns)
    for group in np.unique(groups):
        rows = groups == group
        scaled[rows] = aggregation.normalise_then_sum({"return": torch.from_numpy(returns[rows])[None, :]})[0].numpy()
    return scaled


def batch_mean_advantages(returns: Float64Row, *, total: Callable[[float], float]) -> Float64Row:
    """R_i minus the mean return of the whole batch (REINFORCE), [rows]; `total` sums a number over all learners."""
    count, summed = total(float(len(returns))), total(float(returns.sum()))
    return returns - summed / count


def token_kl(logprobs: FloatRow, reference_logprobs: FloatRow, estimator: str) -> Float64Row:
    """An estimator of KL(pi || pi_0) per token of a response, [tokens], in nats."""
    own, reference = torch.from_numpy(logprobs).double(), torch.from_numpy(reference_logprobs).double()
    values: Float64Row = ESTIMATORS[estimator](own, reference).numpy()
    return values


def kl_loss(logprobs: Tensor, rows: Sequence[int], reference_logprobs: Sequence[FloatRow], estimator: str) -> Tensor:
    """Sum over rows and tokens of an estimator, with gradient; `logprobs` [rows, tokens] is 0 at padding."""
    reference = pad_rows([reference_logprobs[row] for row in rows], logprobs.device)
    if estimator == "k2_sequence":
        return kl.k2(logprobs.sum(-1), reference.sum(-1)).sum()
    return ESTIMATORS[estimator](logprobs, reference).sum()  # every estimator is 0 where both are 0


def importance_weights(start: Sequence[FloatRow], behaviour: Sequence[FloatRow], *, maximum: float) -> Float64Row:
    """Pi / behaviour of each whole response, truncated at `maximum`, [rows]."""
    log_ratio = torch.from_numpy(sequence_k1(start, behaviour))
    weights: Float64Row = losses.truncated_importance(log_ratio, torch.zeros_like(log_ratio), maximum=maximum).numpy()
    return weights


def rloo_loss(logprobs: Tensor, row_advantages: Tensor, weights: Tensor) -> Tensor:
    """-sum over rows of weight * advantage * sum_t log pi; `logprobs` [rows, tokens] is 0 at padding."""
    return losses.reinforce(logprobs, row_advantages, weights=weights) * len(logprobs)


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
    penalties: Sequence[Float64Row],
    values: Sequence[FloatRow],
    utilities: FloatRow,
    max_importance_weight: float,
    algorithm: Ppo,
) -> PpoTargets:
    """Rewards per token (-`penalties`, and the utility at the last), their GAE advantages, and the returns that the
    value head should predict.
    """
    if not start_logprobs:  # an empty shard
        return PpoTargets((), (), (), (), ())
    rewards = [-row for row in penalties]
    for row, utility in zip(rewards, utilities, strict=True):
        row[-1] += utility
    padded_rewards, (padded_values, mask) = _padded(rewards)[0], _padded(values)
    if bool((torch.isfinite(padded_rewards) & torch.isfinite(padded_values)).all()):
        estimated = advantages.gae(
            padded_rewards, padded_values, mask, discount=algorithm.discount, gae_lambda=algorithm.gae_lambda
        )
    else:  # as for returns: the learner refuses the step by its gradient, which all learners see
        estimated = torch.full_like(padded_values, torch.nan)
    start, behaviour = (_padded(rows)[0] for rows in (start_logprobs, behaviour_logprobs))
    weights = losses.truncated_importance(start, behaviour, maximum=max_importance_weight)
    return PpoTargets(
        start_logprobs=tuple(start_logprobs),
        start_values=tuple(values),
        advantages=_ragged(estimated, mask),
        returns=_ragged(estimated + padded_values, mask),
        weights=_ragged(weights, mask),
    )


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
    device, num_rows = logprobs.device, len(rows)
    old, old_values, row_advantages, returns, weights = (
        pad_rows([field[row] for row in rows], device)
        for field in (
            targets.start_logprobs,
            targets.start_values,
            targets.advantages,
            targets.returns,
            targets.weights,
        )
    )
    policy = losses.ppo_clip(logprobs, old, row_advantages, mask, clip=algorithm.clip, weights=weights) * num_rows
    value = losses.value_clip(values, old_values, returns, mask, clip=algorithm.value_clip) * num_rows
    num_clipped = losses.clip_fraction(logprobs, old, row_advantages, mask, clip=algorithm.clip) * mask.sum()
    return PpoLoss(policy + algorithm.value_coefficient * value, policy, value, num_clipped)


def pad_rows(rows: Sequence[FloatRow], device: torch.device) -> Tensor:
    """Ragged rows as one [rows, tokens] float32 tensor, 0 at padding."""
    return _padded(rows)[0].float().to(device)


def _padded(rows: Sequence[FloatRow | Float64Row]) -> tuple[Tensor, Tensor]:
    """Ragged rows as one [rows, tokens] float64 tensor, 0 at padding, and the mask of what is a token."""
    lengths = np.array([len(row) for row in rows])
    mask = np.arange(lengths.max()) < lengths[:, None]
    padded = np.zeros(mask.shape)
    padded[mask] = np.concatenate(rows)
    return torch.from_numpy(padded), torch.from_numpy(mask)


def _ragged(padded: Tensor, mask: Tensor) -> tuple[FloatRow, ...]:
    """The inverse of `_padded`, in float32."""
    pairs = zip(padded.numpy(), mask.numpy(), strict=True)
    return tuple(row[kept].astype(np.float32) for row, kept in pairs)
