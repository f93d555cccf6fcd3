"""The objective of a run as the value of `allgood` that it is, refused where it does not fit the properties."""

from __future__ import annotations

from collections.abc import Mapping

from allgood import objectives
from allgood.errors import ConfigError
from allgood.formula import Formula
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
from pipelines.config.properties import Property


def objective_of(objective: Objective, properties: Mapping[str, Property]) -> objectives.Objective:
    """The objective over these properties. A Lagrangian has its initial multipliers.

    Raises:
        ConfigError: An unknown name, or a transform that the objective cannot work with.
    """
    try:
        value = _value(objective, tuple(properties))
        objectives.refuse_unfit(value, {name: setting.transform.facts for name, setting in properties.items()})
    except ValueError as error:
        raise ConfigError(str(error)) from error
    return value


def _value(objective: Objective, names: tuple[str, ...]) -> objectives.Objective:
    match objective:
        case FormulaObjective():
            return objectives.FormulaUtility(_formula(objective.expression or " & ".join(names)))
        case WeightedSumObjective():
            return objectives.WeightedSum({**dict.fromkeys(names, 1.0), **objective.weights})
        case MinimumObjective():
            return objectives.Minimum(names, objective.on)
        case SoftMinimumObjective():
            return objectives.SoftMinimum(names, objective.on, objective.temperature)
        case LogitOfProductObjective():
            return objectives.LogitOfProduct(names)
        case ZScoredSumObjective():
            return objectives.ZScoredSum(names)
        case LagrangianObjective():
            initial = dict.fromkeys(objective.thresholds, objective.initial_multiplier)
            return objectives.Lagrangian(objective.maximise, objective.thresholds, initial)
        case NormaliseThenSumObjective():
            return objectives.NormaliseThenSum(names)


def _formula(expression: str) -> Formula:
    try:
        return Formula(expression)
    except ValueError as error:
        raise ValueError(f"objective.expression: {error}") from error
