"""One function per kind of objective: from the views of the properties to the combined utility, KL not included."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from allgood import aggregation
from allgood.errors import RoleError
from allgood.formula import Formula
from pipelines.config.properties import (
    ClassifierProperty,
    CustomTransform,
    LogProbTransform,
    LogSigmoidTransform,
    Property,
    Transform,
)

# Log-odds that stand for log P = 0. What is computed here in log space ends at the smallest float32. A log P from
# outside is that of a rounded probability, the last one below 1 being 1 - 6e-8: larger odds would be made of rounding
# alone, and log P(not good) is minus these odds.
OURS = -math.log(torch.finfo(torch.float32).tiny)
ROUNDED = -math.log(torch.finfo(torch.float32).eps / 2)

_ROUNDING = 1e-6  # of a log P that was computed as the logarithm of a sum

FloatArray = NDArray[np.float32]


class View(Protocol):
    """One property's numbers, all of one shape: flat rows in a step, [prompts, samples] where samples were kept."""

    @property
    def rewards(self) -> FloatArray:
        """Raw r."""

    @property
    def margins(self) -> FloatArray:
        """z = r - r_ref."""

    @property
    def utilities(self) -> FloatArray:
        """u, after the transform; NaN where scoring failed."""


Combine = Callable[[Mapping[str, View]], FloatArray]
"""Missing scores stand as any number in the result; the caller masks them."""


def formula(expression: Formula, properties: Mapping[str, Property]) -> Combine:
    """Log P(formula)."""
    return lambda views: _float32(expression.log_prob(_log_odds(views, properties, expression.names)))


def weighted_sum(weights: Mapping[str, float]) -> Combine:
    """Sum of w_i u_i; NaN where a score is missing."""

    def combine(views: Mapping[str, View]) -> FloatArray:
        parts = [np.float32(weight) * views[name].utilities for name, weight in weights.items()]
        total: FloatArray = np.sum(parts, axis=0, dtype=np.float32)
        return total

    return combine


def minimum(properties: Mapping[str, Property], *, on: str) -> Combine:
    """The smallest u_i, or z_i."""
    return lambda views: _float32(aggregation.minimum(_on(views, properties, on)))


def soft_minimum(properties: Mapping[str, Property], *, on: str, temperature: float) -> Combine:
    """-T log sum exp(-u_i / T), or of z_i."""
    return lambda views: _float32(aggregation.soft_minimum(_on(views, properties, on), temperature=temperature))


def logit_of_product(properties: Mapping[str, Property]) -> Combine:
    """Logit of the product of P(good)."""
    return lambda views: _float32(aggregation.logit_of_product(_log_odds(views, properties, list(properties))))


def lagrangian(maximise: str, thresholds: Mapping[str, float], multipliers: Mapping[str, float]) -> Combine:
    """u of one property plus lambda_i (u_i - threshold_i) of the constrained ones."""

    def combine(views: Mapping[str, View]) -> FloatArray:
        utilities = _utilities(views, [maximise, *thresholds])
        return _float32(aggregation.lagrangian(utilities, maximise, multipliers, thresholds))

    return combine


def priced_lagrangian(maximise: str, thresholds: Mapping[str, float]) -> Callable[[Mapping[str, float]], Combine]:
    """The Lagrangian as a function of its multipliers."""
    return partial(lagrangian, maximise, thresholds)


def p_good(transform: Transform, *, margins: FloatArray, utilities: FloatArray) -> NDArray[np.float64]:
    """P(good) of a property: what a transform to log P says; for the others sigma(r - r_ref), as by the log-sigmoid.

    Of a classifier the margin is log P itself, and of draws it is taken from their mean: sigma would be another number.
    """
    if transform.facts.is_log_prob and not isinstance(transform, LogSigmoidTransform):
        return np.exp(utilities.astype(np.float64))
    return 0.5 * (1.0 + np.tanh(0.5 * margins.astype(np.float64)))


def _on(views: Mapping[str, View], properties: Mapping[str, Property], on: str) -> dict[str, Tensor]:
    return _utilities(views, list(properties)) if on == "utility" else _log_odds(views, properties, list(properties))


def _utilities(views: Mapping[str, View], names: list[str]) -> dict[str, Tensor]:
    """Utilities in float64; missing scores become 0."""
    return {name: torch.from_numpy(np.nan_to_num(views[name].utilities.astype(np.float64), nan=0.0)) for name in names}


def _log_odds(
    views: Mapping[str, View], properties: Mapping[str, Property], names: list[str] | tuple[str, ...]
) -> dict[str, Tensor]:
    return {name: _odds(views[name], properties[name]) for name in names}


def _odds(view: View, setting: Property) -> Tensor:
    """Log-odds of "good" in float64: the margin, or where the transform itself gives log P, those of P."""
    if isinstance(setting.transform, LogSigmoidTransform) or not setting.transform.facts.is_log_prob:
        # Of the log-sigmoid too: the margin is exact where log P rounds to 0.
        return torch.from_numpy(np.nan_to_num(view.margins.astype(np.float64), nan=0.0))
    is_from_outside = isinstance(setting.transform, LogProbTransform | CustomTransform)
    most = ROUNDED if is_from_outside and not isinstance(setting, ClassifierProperty) else OURS
    log_prob = np.nan_to_num(view.utilities.astype(np.float64), nan=-1.0)
    if log_prob.max(initial=0.0) > _ROUNDING:  # only a user's own transform can
        raise RoleError(
            f"transform {setting.transform.facts.name!r} is declared is_log_prob, but gives {log_prob.max():.4g}; "
            "log P(good) is at most 0: set is_log_prob: false, or fix the function"
        )
    log_prob = np.minimum(log_prob, 0.0)
    with np.errstate(divide="ignore"):  # log P = 0 gives infinite odds
        odds = log_prob - np.log(-np.expm1(log_prob))
    return torch.from_numpy(np.minimum(odds, most))


def _float32(values: Tensor) -> FloatArray:
    result: FloatArray = values.numpy().astype(np.float32)
    return result
