"""Objectives: how the views of the properties become one utility per response, in nats, KL not included.

Each is a frozen value that knows the properties it needs (`names`) and combines their views (`combine`). The method is
`FormulaUtility`, log P(formula); the others are what it is compared with. What an objective cannot work with is refused
by `refuse_unfit` before anything is scored. A missing score stands as some number in what `combine` returns; whoever
calls it masks these rows, as `allgood.all_good` does.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from allgood import aggregation
from allgood.formula import Formula
from allgood.transform_facts import TransformFacts
from allgood.views import FloatArray, PropertyView

On = Literal["utility", "margin"]
Needs = Literal["log_prob", "identity", "z_score", "anything"]
"""What the utilities must be: log P(good) of any transform that gives it, those of one transform, or anything."""

Views = Mapping[str, PropertyView]


@dataclass(frozen=True)
class FormulaUtility:
    """u = log P(formula) under independent judgements given the prompt and the response."""

    kind: ClassVar[str] = "formula"
    needs: ClassVar[Needs] = "log_prob"

    formula: Formula

    @property
    def names(self) -> tuple[str, ...]:
        """The properties of the formula, sorted."""
        return tuple(sorted(self.formula.names))

    def combine(self, views: Views) -> FloatArray:
        """Log P(formula), float32 in the shape of the views."""
        return _float32(self.formula.log_prob(_log_odds(views, self.names)))


@dataclass(frozen=True)
class WeightedSum:
    """u = sum of w_i u_i; with identity transforms and weights 1 the raw sum. A weight of 0 needs no score."""

    kind: ClassVar[str] = "weighted_sum"
    needs: ClassVar[Needs] = "anything"

    weights: Mapping[str, float]

    def __post_init__(self) -> None:
        if not any(self.weights.values()):
            raise ValueError("objective.weights are all 0, so nothing would be rewarded; give one property a weight")

    @property
    def names(self) -> tuple[str, ...]:
        """The properties with a weight."""
        return tuple(name for name, weight in self.weights.items() if weight)

    def combine(self, views: Views) -> FloatArray:
        """The weighted sum, float32 in the shape of the views."""
        weights = {name: self.weights[name] for name in self.names}
        return _float32(aggregation.weighted_sum(_utilities(views, self.names), weights))


@dataclass(frozen=True)
class Minimum:
    """u = the smallest u_i, or z_i (the log-odds where the transform gives log P): only the worst property counts."""

    kind: ClassVar[str] = "minimum"
    needs: ClassVar[Needs] = "anything"

    names: tuple[str, ...]
    on: On = "utility"

    def combine(self, views: Views) -> FloatArray:
        """The minimum, float32 in the shape of the views."""
        return _float32(aggregation.minimum(_on(views, self.names, self.on)))


@dataclass(frozen=True)
class SoftMinimum:
    """u = -T log sum exp(-u_i / T), or of z_i (the log-odds where the transform gives log P)."""

    kind: ClassVar[str] = "soft_minimum"
    needs: ClassVar[Needs] = "anything"

    names: tuple[str, ...]
    on: On = "utility"
    temperature: float = 1.0

    def combine(self, views: Views) -> FloatArray:
        """The soft minimum, float32 in the shape of the views."""
        values = _on(views, self.names, self.on)
        return _float32(aggregation.soft_minimum(values, temperature=self.temperature))


@dataclass(frozen=True)
class LogitOfProduct:
    """u = logit of the product of P(good): the AND without diminishing utility."""

    kind: ClassVar[str] = "logit_of_product"
    needs: ClassVar[Needs] = "log_prob"

    names: tuple[str, ...]

    def combine(self, views: Views) -> FloatArray:
        """The logit, float32 in the shape of the views."""
        return _float32(aggregation.logit_of_product(_log_odds(views, self.names)))


@dataclass(frozen=True)
class ZScoredSum:
    """u = sum of (r_i - mean_i) / std_i: of z-scores, which every property's transform gives."""

    kind: ClassVar[str] = "z_scored_sum"
    needs: ClassVar[Needs] = "z_score"

    names: tuple[str, ...]

    def combine(self, views: Views) -> FloatArray:
        """The sum, float32 in the shape of the views."""
        return _float32(aggregation.raw_sum(_utilities(views, self.names)))


@dataclass(frozen=True)
class Lagrangian:
    """u = u of one property + sum of lambda_i (u_i - threshold_i): its constraints hold on average over prompts."""

    kind: ClassVar[str] = "lagrangian"
    needs: ClassVar[Needs] = "anything"

    maximise: str
    thresholds: Mapping[str, float]
    multipliers: Mapping[str, float]

    def __post_init__(self) -> None:
        if self.maximise in self.thresholds:
            raise ValueError(
                f"objective.thresholds holds {self.maximise!r}, which is the property to maximise; constrain others"
            )

    @property
    def names(self) -> tuple[str, ...]:
        """The property to maximise, then the constrained ones."""
        return (self.maximise, *self.thresholds)

    def at(self, multipliers: Mapping[str, float]) -> Lagrangian:
        """The same with other multipliers; see `aggregation.update_multipliers`."""
        return replace(self, multipliers=multipliers)

    def combine(self, views: Views) -> FloatArray:
        """The Lagrangian, float32 in the shape of the views."""
        utilities = {name: values.double() for name, values in _utilities(views, self.names).items()}
        return _float32(aggregation.lagrangian(utilities, self.maximise, self.multipliers, self.thresholds))


@dataclass(frozen=True)
class NormaliseThenSum:
    """GDPO's rule for advantages, see `aggregation.normalise_then_sum`. It has no utility: shown is the raw sum."""

    kind: ClassVar[str] = "normalise_then_sum"
    needs: ClassVar[Needs] = "identity"

    names: tuple[str, ...]

    def combine(self, views: Views) -> FloatArray:
        """The raw sum, float32 in the shape of the views."""
        return _float32(aggregation.raw_sum(_utilities(views, self.names)))


Objective = (
    FormulaUtility | WeightedSum | Minimum | SoftMinimum | LogitOfProduct | ZScoredSum | Lagrangian | NormaliseThenSum
)


def refuse_unfit(objective: Objective, transforms: Mapping[str, TransformFacts]) -> None:
    """Refuse what an objective cannot work with.

    Args:
        objective: The objective.
        transforms: What is known of each property's transform.

    Raises:
        ValueError: The objective names what is no property, or a property's utilities are not what it combines.
    """
    for where, names in _named(objective):
        unknown = [name for name in names if name not in transforms]
        if unknown:
            raise ValueError(
                f"{where} names {unknown[0]!r}, which is not a property; properties are: {', '.join(transforms)}"
            )
    for name in objective.names:
        given = f"properties.{name}.transform is {transforms[name].name}, but objective.kind {objective.kind} needs"
        if objective.needs == "log_prob" and not transforms[name].is_log_prob:
            raise ValueError(
                f"{given} log P(good): use log_sigmoid, log_prob, log_mean_sigmoid, calibrated with then: log, or your "
                "own that declares is_log_prob: true there, or objective.kind weighted_sum for other utilities"
            )
        if objective.needs in ("identity", "z_score") and transforms[name].name != objective.needs:
            raise ValueError(f"{given} {objective.needs}; set it for every property")


def _named(objective: Objective) -> Iterator[tuple[str, Collection[str]]]:
    """Where an objective names properties, and which."""
    if isinstance(objective, Lagrangian):
        yield "objective.maximise", (objective.maximise,)
        yield "objective.thresholds", tuple(objective.thresholds)
    elif isinstance(objective, WeightedSum):
        yield "objective.weights", tuple(objective.weights)
    elif isinstance(objective, FormulaUtility):
        yield "objective.expression", objective.names
    else:
        yield "objective.names", objective.names


def _on(views: Views, names: Collection[str], on: On) -> dict[str, Tensor]:
    if on == "margin":
        return _log_odds(views, names)
    return {name: values.double() for name, values in _utilities(views, names).items()}


def _utilities(views: Views, names: Collection[str]) -> dict[str, Tensor]:
    """Utilities in float32; missing scores become 0."""
    return {name: torch.from_numpy(np.nan_to_num(views[name].utilities, nan=0.0)) for name in names}


def _log_odds(views: Views, names: Collection[str]) -> dict[str, Tensor]:
    """Log-odds of "good" in float64; missing scores become 0."""
    return {name: torch.from_numpy(np.nan_to_num(views[name].log_odds, nan=0.0)) for name in names}


def _float32(values: Tensor) -> FloatArray:
    result: FloatArray = values.numpy().astype(np.float32)
    return result
