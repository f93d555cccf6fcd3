"""References for prompts that were never sampled: a head that predicts mean and spread of the start policy's reward.

The head stands on features of the prompt: any encoder's, or the reward model's own backbone. It is trained by Gaussian
likelihood on the rewards of sampled prompts; the reference of a new prompt is mu(x) + z_q s(x). `coverage` reports
whether predicted quantiles hold on prompts that were kept out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from allgood.checks import in_float, require_finite, require_shape
from allgood.number_checks import Number, require_open_unit, require_positive

Moment = TypeVar("Moment", float, Tensor)

_SMALLEST_STD = 1e-3  # logits; a prompt with constant rewards must not make the likelihood infinite


@dataclass(frozen=True)
class Prediction:
    """Predicted distribution of the reward of pi_0 responses, per prompt: mean and std, [prompts], in logits."""

    mean: Tensor
    std: Tensor

    def quantile(self, quantile: Number) -> Tensor:
        """mean + z_q * std, [prompts]. ValueError when the quantile is outside (0, 1)."""
        return normal_quantile(self.mean, self.std, quantile)


def normal_quantile(mean: Moment, std: Moment, quantile: Number) -> Moment:
    """mean + z_q * std, in the units of the moments: one number, or [prompts].

    Raises:
        ValueError: The quantile is outside (0, 1).

    >>> normal_quantile(1.0, 2.0, 0.5)
    1.0
    """
    return mean + NormalDist().inv_cdf(require_open_unit("quantile", quantile)) * std


class ReferenceHead(nn.Module):
    """Features [prompts, features] -> Prediction: a linear map, or one hidden layer, on standardised features."""

    feature_mean: Tensor
    feature_std: Tensor
    reward_mean: Tensor
    reward_std: Tensor

    def __init__(self, num_features: int, *, num_hidden: int = 0) -> None:
        super().__init__()
        if num_features < 1 or num_hidden < 0:
            raise ValueError(
                f"num_features must be at least 1 and num_hidden at least 0, got {num_features}, {num_hidden}"
            )
        self.layers = (
            nn.Sequential(nn.Linear(num_features, num_hidden), nn.GELU(), nn.Linear(num_hidden, 2))
            if num_hidden
            else nn.Sequential(nn.Linear(num_features, 2))
        )
        last = self.layers[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)  # training starts from one Gaussian for all prompts
        nn.init.zeros_(last.bias)
        self.register_buffer("feature_mean", torch.zeros(num_features))
        self.register_buffer("feature_std", torch.ones(num_features))
        self.register_buffer("reward_mean", torch.zeros(()))
        self.register_buffer("reward_std", torch.ones(()))

    def standardise(self, features: Tensor, draws: Tensor) -> None:
        """Take location and scale of features [prompts, features] and draws [prompts, draws] from training prompts."""
        self.feature_mean.copy_(features.mean(0))
        self.feature_std.copy_(features.std(0, correction=0).clamp(min=1e-6))
        self.reward_mean.copy_(draws.mean())
        # Draws vary within prompts more than their means do between them: that spread is where training starts.
        self.reward_std.copy_(draws.std(1).mean().clamp(min=_SMALLEST_STD))

    def forward(self, features: Tensor) -> Prediction:
        """Predict for features [prompts, features]."""
        raw = self.layers((in_float(features) - self.feature_mean) / self.feature_std)
        std = self.reward_std * F.softplus(raw[:, 1] + math.log(math.e - 1))  # raw 0 is the training spread
        return Prediction(self.reward_mean + self.reward_std * raw[:, 0], std.clamp(min=_SMALLEST_STD))


def gaussian_nll(prediction: Prediction, draws: Tensor) -> Tensor:
    """Mean negative log-likelihood of draws [prompts, draws] under the predicted Gaussians, in nats per draw.

    Raises:
        ValueError: Shapes do not fit, or a draw is not finite.
    """
    draws = _draws(draws, len(prediction.mean))
    standardised = (draws - prediction.mean.unsqueeze(-1)) / prediction.std.unsqueeze(-1)
    return (0.5 * standardised.square().mean(-1) + prediction.std.log()).mean() + 0.5 * math.log(2 * math.pi)


def fit(
    features: Tensor,
    draws: Tensor,
    *,
    seed: int,
    num_hidden: int = 0,
    num_steps: int = 500,
    weight_decay: Number = 0.01,
) -> ReferenceHead:
    """Train a head on fixed features by full-batch AdamW, learning rate 0.02 falling to 0.

    Args:
        features: Of the training prompts, [prompts, features].
        draws: Rewards of pi_0 responses to them, [prompts, draws], at least 2 draws.
        seed: Of the hidden layer's initial weights.
        num_hidden: Width of the hidden layer; 0 for a linear head.
        num_steps: Steps of the optimiser.
        weight_decay: At least 0.

    Raises:
        ValueError: Shapes do not fit, fewer than 2 draws, a value is not finite, num_steps not above 0, or a negative
            weight decay.
    """
    require_shape("features", features, 2, "[prompts, features]")
    require_finite("features", features)
    require_positive("num_steps", num_steps)
    if not (math.isfinite(weight_decay) and weight_decay >= 0):
        raise ValueError(f"weight_decay must be finite and at least 0, got {weight_decay}")
    features, draws = features.detach().float(), _draws(draws, len(features)).detach().float()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = ReferenceHead(features.shape[1], num_hidden=num_hidden).to(features.device)
    head.standardise(features, draws)
    optimizer = torch.optim.AdamW(head.parameters(), lr=0.02, weight_decay=weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, num_steps)
    with torch.enable_grad():
        for _ in range(num_steps):
            optimizer.zero_grad()
            gaussian_nll(head(features), draws).backward()
            optimizer.step()
            schedule.step()
    return head


@dataclass(frozen=True)
class Coverage:
    """Share of held-out draws below a predicted quantile; well calibrated when it equals the quantile.

    Attributes:
        quantile: What was asked for.
        share_below: What was found, over all draws of all held-out prompts.
        standard_error: Of `share_below`, over prompts.
    """

    quantile: float
    share_below: float
    standard_error: float


def coverage(
    prediction: Prediction, draws: Tensor, quantiles: Sequence[Number] = (0.5, 0.75, 0.85, 0.95)
) -> tuple[Coverage, ...]:
    """Calibration report of predictions on prompts that were kept out of training.

    Args:
        prediction: For the held-out prompts.
        draws: Rewards of pi_0 responses to them, [prompts, draws].
        quantiles: Each in (0, 1).

    Raises:
        ValueError: Shapes do not fit, a draw is not finite, or a quantile is outside (0, 1).
    """
    draws = _draws(draws, len(prediction.mean))
    return tuple(_coverage(prediction, draws, quantile) for quantile in quantiles)


def _coverage(prediction: Prediction, draws: Tensor, quantile: Number) -> Coverage:
    below = (draws <= prediction.quantile(quantile).unsqueeze(-1)).double().mean(-1)
    error = float(below.std()) / math.sqrt(len(below)) if len(below) > 1 else math.nan
    return Coverage(quantile, float(below.mean()), error)


def _draws(draws: Tensor, num_prompts: int) -> Tensor:
    require_shape("draws", draws, 2, "[prompts, draws]")
    if len(draws) != num_prompts or draws.shape[1] < 2:
        raise ValueError(
            f"draws must be [prompts, draws] for {num_prompts} prompts with at least 2 draws, got {tuple(draws.shape)}"
        )
    require_finite("draws", draws)
    return in_float(draws)
