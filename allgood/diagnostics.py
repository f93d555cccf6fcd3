"""Diagnostics: is the method doing what it promises? Saturation, independence, calibration, improvement, shortcuts.

Calibration and shortcut detectors have files of their own and can be imported from here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from allgood.calibration import Reliability, expected_calibration_error, fit_temperature, reliability_curve
from allgood.checks import Number, in_float, require_finite, require_open_unit, require_same_shape, require_shape
from allgood.intervals import Numbers, prompt_means
from allgood.shortcuts import has_consult, has_list, is_refusal, num_words, repetition, shortcut_rates
from allgood.tilting import solve_gamma, tilt

__all__ = [
    "Improvement",
    "MarginCorrelation",
    "Reliability",
    "expected_calibration_error",
    "fit_temperature",
    "has_consult",
    "has_list",
    "improvement",
    "improvement_at_kl",
    "is_refusal",
    "margin_correlation",
    "num_words",
    "reliability_curve",
    "repetition",
    "saturation",
    "shortcut_rates",
]


def saturation(margins: Tensor, *, threshold: Number = 0.95) -> float:
    """Share of responses with P(good) = sigma(margin) above `threshold`: there the log-sigmoid is flat.

    Args:
        margins: Of any shape, at least one.
        threshold: In (0, 1).

    Raises:
        ValueError: No margin, one is not finite, or threshold outside (0, 1).
    """
    threshold = require_open_unit("threshold", threshold)
    if margins.numel() == 0:
        raise ValueError("margins must hold at least one value, got none")
    require_finite("margins", margins)
    return float((in_float(margins) > math.log(threshold / (1 - threshold))).double().mean())


@dataclass(frozen=True)
class MarginCorrelation:
    """Correlation of two properties' margins among responses to the same prompt.

    Attributes:
        pooled: Of deviations from the prompt's mean, over all prompts; NaN when a margin never varies.
        by_prompt: Per prompt, [prompts]; NaN where a margin does not vary.
    """

    pooled: float
    by_prompt: Tensor


def margin_correlation(margins: Mapping[str, Tensor]) -> dict[tuple[str, str], MarginCorrelation]:
    """Is the independence assumption plausible? Correlation given the prompt, for every pair of properties.

    The formula assumes that *judgements* are independent given (x, y). Margins that move together given x do not
    contradict it (good answers may be good in every way), but where they do, P(all good) hinges on it.

    Args:
        margins: Per property [prompts, samples], at least 2 properties and 2 samples.

    Raises:
        ValueError: Fewer than 2 properties or samples, shapes differ, or a margin is not finite.
    """
    if len(margins) < 2:
        raise ValueError(f"margins must hold at least 2 properties, got {list(margins)}")
    names = list(margins)
    for name in names:
        require_shape(f"margins[{name!r}]", margins[name], 2, "[prompts, samples]")
        require_same_shape(f"margins[{name!r}]", margins[name], f"margins[{names[0]!r}]", margins[names[0]])
        require_finite(f"margins[{name!r}]", margins[name])
    if margins[names[0]].shape[1] < 2:
        raise ValueError("margins must hold at least 2 samples per prompt, got 1")
    deviations = {name: margins[name].detach().double() for name in names}
    deviations = {name: values - values.mean(-1, keepdim=True) for name, values in deviations.items()}
    pairs = [(first, second) for index, first in enumerate(names) for second in names[index + 1 :]]
    return {(first, second): _correlation(deviations[first], deviations[second]) for first, second in pairs}


@dataclass(frozen=True)
class Improvement:
    """How a policy's gain over pi_0 is spread over prompts; compare policies at matched KL only.

    Attributes:
        by_prompt: Mean score of the policy minus that of pi_0, [prompts].
        quantiles: Of `by_prompt` at 5, 25, 50, 75 and 95 %.
        share_unimproved: Share of prompts with no gain.
        uniformity: Mean gain over its standard deviation across prompts; larger is more even. NaN when all are equal.
    """

    by_prompt: Tensor
    quantiles: dict[int, float]
    share_unimproved: float
    uniformity: float


def improvement(scores: Numbers, baseline: Numbers) -> Improvement:
    """Distribution over prompts of the gain in score (reward, gold), the paper's test for underfitting.

    Args:
        scores: Of the policy, [prompts, samples] or [prompts].
        baseline: Of pi_0 on the same prompts.

    Raises:
        ValueError: Another number of prompts, no prompt, or a score is not finite.
    """
    mine, theirs = prompt_means("scores", scores), prompt_means("baseline", baseline)
    if len(mine) != len(theirs):
        raise ValueError(f"scores and baseline must be about the same prompts, got {len(mine)} and {len(theirs)}")
    return _spread_over_prompts(mine - theirs)


def improvement_at_kl(utilities: Tensor, values: Tensor, target_kl: Number) -> Improvement:
    """How the optimum of these utilities at a given mean KL would spread its gain over prompts, without any training.

    The same `values` and `target_kl` for several utilities (raw sum, log P(good)) compare them at matched KL.

    Args:
        utilities: [prompts, samples] of samples of pi_0, in nats: what is optimised.
        values: What is asked for (a reward, gold) of the same samples, [prompts, samples].
        target_kl: Mean over prompts of the KL to pi_0, in nats, above 0.

    Raises:
        ValueError: As in `tilting.solve_gamma`, values of another shape, or one is not finite.
    """
    utilities, values = utilities.detach().double(), values.detach().double()
    gains = tilt(utilities, solve_gamma(utilities, target_kl)).expect(values) - values.mean(-1)
    return _spread_over_prompts(gains.cpu())


def _spread_over_prompts(gains: Tensor) -> Improvement:
    """Gains [prompts] in float64."""
    percents = (5, 25, 50, 75, 95)
    found = torch.quantile(gains, torch.tensor(percents, dtype=torch.float64) / 100).tolist()
    spread = float(gains.std(correction=0))
    return Improvement(
        by_prompt=gains,
        quantiles=dict(zip(percents, found, strict=True)),
        share_unimproved=float((gains <= 0).double().mean()),
        uniformity=float(gains.mean()) / spread if spread > 0 else math.nan,
    )


def _correlation(first: Tensor, second: Tensor) -> MarginCorrelation:
    products = (first * second).sum(-1)
    squares = first.square().sum(-1), second.square().sum(-1)
    return MarginCorrelation(
        pooled=float(products.sum() / (squares[0].sum() * squares[1].sum()).sqrt()),
        by_prompt=products / (squares[0] * squares[1]).sqrt(),
    )
