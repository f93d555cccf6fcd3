"""The combined utility of a response: scores of properties -> one number per row, in nats, KL not included.

A formula's utility is log P(formula) under independent judgements: a property with the log-sigmoid transform is good
with probability sigma(z), one with another log-probability (log_prob, log_mean_sigmoid, calibrated) with that one. The
other kinds are in `combinations`. A row without a needed score has no utility (NaN); it is dropped, never replaced by a
number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from actors.messages import FinishReason, FloatRow, Scores
from allgood.errors import ConfigError, TrainingError
from allgood.formula import Formula
from pipelines.config.contradictions import _refuse_unknown, _require_log_prob, _require_transform
from pipelines.config.objectives import (
    FormulaObjective,
    LagrangianObjective,
    LogitOfProductObjective,
    MinimumObjective,
    NormaliseThenSumObjective,
    Objective,
    SoftMinimumObjective,
    WeightedSumObjective,
    ZScoredSumObjective,
)
from pipelines.config.properties import IdentityTransform, Property, ZScoreTransform
from pipelines.objective import combinations
from pipelines.objective.combinations import Combine, FloatArray, View

__all__ = [
    "CombinedUtility",
    "combined_utility",
    "initial_multipliers",
    "refuse_too_many_failures",
]


@dataclass(frozen=True)
class CombinedUtility:
    """The objective of a run. `names` are the properties it needs; rows with another property's NaN are kept.

    `priced` is set where multipliers are learned: the objective as a function of them.
    """

    names: tuple[str, ...]
    combine: Combine
    missing_eos_penalty: float = 0.0
    priced: Callable[[Mapping[str, float]], Combine] | None = None

    def at(self, multipliers: Mapping[str, float]) -> CombinedUtility:
        """The objective with these multipliers; itself where none are learned."""
        return self if self.priced is None else replace(self, combine=self.priced(multipliers))

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
    """The objective as a function of scores. A Lagrangian starts with its initial multipliers; GDPO, which has no
    utility of its own, is shown as the raw sum.

    Raises:
        ConfigError: An unknown name, or a transform that the objective cannot work with.
    """
    names, combine, priced = _combination(objective, properties)
    return CombinedUtility(names, combine, missing_eos_penalty, priced)


_Combination = tuple[tuple[str, ...], Combine, Callable[[Mapping[str, float]], Combine] | None]


def _combination(objective: Objective, properties: Mapping[str, Property]) -> _Combination:
    everything = tuple(properties)
    match objective:
        case FormulaObjective():
            return _formula(objective, properties)
        case WeightedSumObjective():
            return _weighted_sum(objective, properties)
        case MinimumObjective():
            return everything, combinations.minimum(properties, on=objective.on), None
        case SoftMinimumObjective():
            soft = combinations.soft_minimum(properties, on=objective.on, temperature=objective.temperature)
            return everything, soft, None
        case LogitOfProductObjective():
            _require_log_prob(everything, properties, objective.kind)
            return everything, combinations.logit_of_product(properties), None
        case ZScoredSumObjective():
            _require_transform(ZScoreTransform, properties, objective.kind)
            return everything, combinations.weighted_sum(dict.fromkeys(properties, 1.0)), None
        case LagrangianObjective():
            return _lagrangian(objective, properties)
        case NormaliseThenSumObjective():
            _require_transform(IdentityTransform, properties, objective.kind)
            return everything, combinations.weighted_sum(dict.fromkeys(properties, 1.0)), None


def _weighted_sum(objective: WeightedSumObjective, properties: Mapping[str, Property]) -> _Combination:
    _refuse_unknown(objective.weights, properties, "objective.weights")
    all_weights = {name: objective.weights.get(name, 1.0) for name in properties}
    weights = {name: weight for name, weight in all_weights.items() if weight}  # a weight of 0 needs no score
    if not weights:
        raise ConfigError("objective.weights are all 0, so nothing would be rewarded; give one property a weight")
    return tuple(weights), combinations.weighted_sum(weights), None


def _formula(objective: FormulaObjective, properties: Mapping[str, Property]) -> _Combination:
    try:
        formula = Formula(objective.expression or " & ".join(properties))
    except ValueError as error:
        raise ConfigError(f"objective.expression: {error}") from error
    names = tuple(sorted(formula.names))
    _refuse_unknown(names, properties, "objective.expression")
    _require_log_prob(names, properties, objective.kind)
    return names, combinations.formula(formula, properties), None


def _lagrangian(objective: LagrangianObjective, properties: Mapping[str, Property]) -> _Combination:
    _refuse_unknown([objective.maximise], properties, "objective.maximise")
    _refuse_unknown(objective.thresholds, properties, "objective.thresholds")
    if objective.maximise in objective.thresholds:
        raise ConfigError(
            f"objective.thresholds holds {objective.maximise!r}, which is the property to maximise; constrain others"
        )
    priced = combinations.priced_lagrangian(objective.maximise, objective.thresholds)
    names = (objective.maximise, *objective.thresholds)
    return names, priced(initial_multipliers(objective)), priced


def initial_multipliers(objective: Objective) -> dict[str, float]:
    """lambda of each constrained property before the first step; empty where none are learned."""
    if not isinstance(objective, LagrangianObjective):
        return {}
    return dict.fromkeys(objective.thresholds, objective.initial_multiplier)


def refuse_too_many_failures(scores: Mapping[str, Scores], *, max_nan_share: float, step: int) -> None:
    """TrainingError when more than `max_nan_share` of a property's scores in this step are NaN."""
    for name, property_scores in scores.items():
        share = float(np.mean(np.isnan(property_scores.utilities)))
        if share > max_nan_share:
            raise TrainingError(
                f"step {step}: {share:.0%} of the scores of property {name} are NaN, more than align.max_nan_share = "
                f"{max_nan_share:.0%}; the scorer fails on these responses"
            )
