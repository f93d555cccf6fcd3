"""Objectives: how the utilities of properties become one number. A tagged union on `kind`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pipelines.config.base import StrictModel

On = Literal["utility", "margin"]


class FormulaObjective(StrictModel):
    """u = log P(formula) under independent judgements; absent expression: the conjunction of all properties."""

    kind: Literal["formula"] = "formula"
    expression: str | None = Field(None, description="such as 'helpful & ~verbose'; absent: all properties")


class WeightedSumObjective(StrictModel):
    """u = sum of w_i * u_i; with identity transforms this is the raw sum. Absent weights are 1."""

    kind: Literal["weighted_sum"] = "weighted_sum"
    weights: dict[str, float] = Field(
        default_factory=dict, description="per property; a property without one has weight 1"
    )


class MinimumObjective(StrictModel):
    """u = the smallest u_i: only the worst property counts."""

    kind: Literal["minimum"] = "minimum"
    on: On = Field("utility", description="margin: the smallest r - r_ref (log-odds where the transform gives log P)")


class SoftMinimumObjective(StrictModel):
    """u = -T log sum exp(-u_i / T), below the minimum by at most T log(number of properties)."""

    kind: Literal["soft_minimum"] = "soft_minimum"
    on: On = Field("utility", description="margin: of r - r_ref (log-odds where the transform gives log P)")
    temperature: float = Field(1.0, gt=0, description="T, in the unit of what it acts on")


class LogitOfProductObjective(StrictModel):
    """u = logit of the product of P(good): the AND without diminishing utility. Needs probability transforms."""

    kind: Literal["logit_of_product"] = "logit_of_product"


class ZScoredSumObjective(StrictModel):
    """u = sum of (r_i - mean_i) / std_i over all pi_0 samples, frozen. Every property needs the z_score transform."""

    kind: Literal["z_scored_sum"] = "z_scored_sum"


class LagrangianObjective(StrictModel):
    """Maximise one property while the mean utility of others stays above thresholds; multipliers are learned."""

    kind: Literal["lagrangian"] = "lagrangian"
    maximise: str = Field(description="the property to maximise")
    thresholds: dict[str, float] = Field(
        min_length=1, description="smallest mean utility of each constrained property, after its transform"
    )
    initial_multiplier: float = Field(1.0, ge=0, description="lambda of every constraint before the first step")
    learning_rate: float = Field(0.1, gt=0, description="of the multipliers, per step and unit of utility")


class NormaliseThenSumObjective(StrictModel):
    """GDPO: each property's return is divided by its standard deviation within the prompt before the sum. Raw rewards
    only; an advantage rule, so there is no utility to preview.
    """

    kind: Literal["normalise_then_sum"] = "normalise_then_sum"


Objective = Annotated[
    FormulaObjective
    | WeightedSumObjective
    | MinimumObjective
    | SoftMinimumObjective
    | LogitOfProductObjective
    | ZScoredSumObjective
    | LagrangianObjective
    | NormaliseThenSumObjective,
    Field(discriminator="kind"),
]
