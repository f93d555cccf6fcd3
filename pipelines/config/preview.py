"""The grid of `allgood preview`: which settings are predicted from the cached samples of the start policy."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from pipelines.config.base import StrictModel
from pipelines.config.objectives import Objective
from pipelines.config.references import Reference
from pipelines.config.transforms import IdentityTransform, LogSigmoidTransform, Transform


class PreviewConfig(StrictModel):
    """What `allgood preview` tries: every transform x reference of each property x objective x KL.

    A transform is tried on all properties at once, a reference on each property by itself (all combinations). The run
    file's own setting is always among them. Combinations that mean nothing, such as a formula of raw rewards, are left
    out and counted.
    """

    split: Literal["validation", "alignment"] = Field(
        "validation", description="prompts of the prediction; a choice belongs on validation prompts"
    )
    transforms: list[Transform] = Field(
        [IdentityTransform(), LogSigmoidTransform()],
        min_length=1,
        description="each on every property that has a choice",
    )
    references: dict[str, list[Reference]] = Field(
        default_factory=dict,
        description="per property, beyond its own; without an entry: mean, Gaussian quantiles 0.5, 0.75, 0.85 and 0.95",
    )
    objectives: list[Objective] | None = Field(
        None,
        description="absent: the run's own, AND of all properties, each property alone, weighted sums with ratios from "
        "1/4 to 4, minimum, and logit of product",
    )
    target_kls: list[float] = Field(
        [0.25, 0.5, 1.0, 1.5, 2.0, 3.0],
        description="nats; the coefficient of each setting is solved so that its predicted KL is this",
    )
    coefficients: list[float] = Field([], description="gamma (`kl.coefficient`) values to predict as well")
    best_of_k: list[int] = Field(
        [2, 4, 8, 16, 32, 64], description="best-of-k with the same objectives; k above the samples' reach is left out"
    )
    kl_budgets: list[float] = Field(
        [0.5, 1.0, 2.0, 4.0], min_length=1, description="nats; the best settings within each are listed"
    )

    @model_validator(mode="after")
    def _numbers_are_possible(self) -> PreviewConfig:
        for key in ("target_kls", "coefficients", "kl_budgets"):
            wrong = [value for value in getattr(self, key) if not value > 0]
            if wrong:
                raise ValueError(f"{key} holds {wrong[0]}, but every entry must be above 0")
        if any(k < 1 for k in self.best_of_k):
            raise ValueError(f"best_of_k holds {min(self.best_of_k)}, but k starts at 1")
        if not self.target_kls and not self.coefficients:
            raise ValueError("give target_kls or coefficients: without either there is nothing to predict")
        return self
