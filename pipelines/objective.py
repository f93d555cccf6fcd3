"""The combined utility of a response: scores of properties -> one number per row, in nats, KL not included.

A formula's utility is log P(formula) under independent judgements: a property with the log-sigmoid transform is good
with probability sigma(z), one with another log-probability (log_prob, log_mean_sigmoid, calibrated) with that one. A
weighted sum adds w_i * u_i. A row without a needed score has no utility (NaN); it is dropped, never replaced by a
number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from actors.messages import FinishReason, FloatRow, Scores
from allgood.errors import ConfigError, TrainingError
from allgood.formula import Formula
from allgood.named_transforms import named
from pipelines.config.properties import CustomTransform, LogSigmoidTransform, Property, Transform
from pipelines.config.rl import FormulaObjective, Objective, WeightedSumObjective
from pipelines.config.transforms import transform_name

MARGIN_OF_CERTAINTY = 1e4  # log-odds that stand for P = 1 within float32; the formula is stable up to here


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


@dataclass(frozen=True)
class CombinedUtility:
    """The objective of a run. `names` are the properties it needs; rows with another property's NaN are kept."""

    names: tuple[str, ...]
    combine: Callable[[Mapping[str, View]], FloatArray]
    missing_eos_penalty: float = 0.0

    def __call__(self, scores: Mapping[str, Scores], finish_reasons: tuple[FinishReason, ...]) -> FloatRow:
        """Combined utilities [rows]; NaN where a needed score is missing."""
        return self.of(scores, np.array([reason == "length" for reason in finish_reasons], dtype=np.bool_))

    def of(self, views: Mapping[str, View], was_cut: NDArray[np.bool_]) -> FloatArray:
        """Combined utilities in the shape of the views. The penalty comes after the transform."""
        missing = np.any([np.isnan(views[name].utilities) for name in self.names], axis=0)
        utilities = self.combine(views) - np.float32(self.missing_eos_penalty) * was_cut.astype(np.float32)
        return np.where(missing | ~np.isfinite(utilities), np.nan, utilities).astype(np.float32)


def combined_utility(
    objective: Objective, properties: Mapping[str, Property], *, missing_eos_penalty: float = 0.0
) -> CombinedUtility:
    """The objective as a function of scores. ConfigError: an unknown name, or a transform that is no probability."""
    if isinstance(objective, WeightedSumObjective):
        return _weighted_sum(objective, properties, missing_eos_penalty)
    return _formula(objective, properties, missing_eos_penalty)


def _weighted_sum(
    objective: WeightedSumObjective, properties: Mapping[str, Property], missing_eos_penalty: float
) -> CombinedUtility:
    _refuse_unknown(objective.weights, properties, "objective.weights")
    all_weights = {name: objective.weights.get(name, 1.0) for name in properties}
    weights = {name: weight for name, weight in all_weights.items() if weight}  # a weight of 0 needs no score
    if not weights:
        raise ConfigError("objective.weights are all 0, so nothing would be rewarded; give one property a weight")

    def combine(views: Mapping[str, View]) -> FloatArray:
        parts = [np.float32(weight) * views[name].utilities for name, weight in weights.items()]
        total: FloatArray = np.sum(parts, axis=0, dtype=np.float32)
        return total

    return CombinedUtility(tuple(weights), combine, missing_eos_penalty)


def _formula(
    objective: FormulaObjective, properties: Mapping[str, Property], missing_eos_penalty: float
) -> CombinedUtility:
    expression = objective.expression or " & ".join(properties)
    try:
        formula = Formula(expression)
    except ValueError as error:
        raise ConfigError(f"objective.expression: {error}") from error
    names = tuple(sorted(formula.names))
    _refuse_unknown(names, properties, "objective.expression")
    for name in names:
        if not is_log_prob(properties[name].transform):
            raise ConfigError(
                f"properties.{name}.transform is {properties[name].transform.kind}, but objective.kind formula needs "
                "log P(good): use log_sigmoid, log_prob, log_mean_sigmoid or calibrated with then: log there, or "
                "objective.kind weighted_sum for other utilities"
            )

    def combine(views: Mapping[str, View]) -> FloatArray:
        margins = {name: _log_odds(views[name], properties[name].transform) for name in names}
        utilities: FloatArray = formula.log_prob(margins).numpy().astype(np.float32)
        return utilities

    return CombinedUtility(names, combine, missing_eos_penalty)


def is_log_prob(transform: Transform) -> bool:
    """Whether the utility is the logarithm of P(good)."""
    return not isinstance(transform, CustomTransform) and named(transform_name(transform)).is_log_prob


def _log_odds(view: View, transform: Transform) -> torch.Tensor:
    """Log-odds of "good" in float64. Missing scores become 0 here; the caller masks their rows."""
    if isinstance(transform, LogSigmoidTransform):  # the margin itself, exact where log P rounds to 0
        return torch.from_numpy(np.nan_to_num(view.margins.astype(np.float64), nan=0.0))
    log_prob = np.nan_to_num(view.utilities.astype(np.float64), nan=-1.0, neginf=-MARGIN_OF_CERTAINTY)
    log_prob = np.minimum(log_prob, 0.0)  # a mean of probabilities may round to just above 1
    with np.errstate(divide="ignore"):  # log P = 0 gives infinite odds, cut to the margin of certainty
        odds = log_prob - np.log(-np.expm1(log_prob))
    return torch.from_numpy(np.minimum(odds, MARGIN_OF_CERTAINTY))


def refuse_too_many_failures(scores: Mapping[str, Scores], *, max_nan_share: float, step: int) -> None:
    """TrainingError when more than `max_nan_share` of a property's scores in this step are NaN."""
    for name, property_scores in scores.items():
        share = float(np.mean(np.isnan(property_scores.utilities)))
        if share > max_nan_share:
            raise TrainingError(
                f"step {step}: {share:.0%} of the scores of property {name} are NaN, more than align.max_nan_share = "
                f"{max_nan_share:.0%}; the scorer fails on these responses"
            )


def kept_rows(utilities: FloatRow, groups: np.ndarray) -> np.ndarray:
    """Indices of the rows that an update may use: a finite utility, in a group with at least two such rows."""
    finite = np.isfinite(utilities)
    sizes = np.bincount(groups[finite], minlength=int(groups.max(initial=-1)) + 1)
    return np.flatnonzero(finite & (sizes[groups] >= 2))


def _refuse_unknown(names: object, properties: Mapping[str, Property], where: str) -> None:
    unknown = [name for name in names if name not in properties]  # type: ignore[attr-defined]
    if unknown:
        raise ConfigError(
            f"{where} names {unknown[0]!r}, which is not a property; properties are: {', '.join(properties)}"
        )
