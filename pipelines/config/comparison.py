"""Several alignments side by side on kept actors: the arms of quickstart and of the study."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pipelines.config.base import StrictModel


class ArmConfig(StrictModel):
    """One arm: an objective at one KL coefficient."""

    objective: Literal["raw_sum", "lsc_sum"] = Field(
        description="raw_sum: sum of rewards; lsc_sum: log P(all good), the sum of log-sigmoids of centred rewards"
    )
    coefficient: float = Field(gt=0, description="gamma, the KL coefficient of this arm")


class ComparisonConfig(StrictModel):
    """Which arms `allgood quickstart` runs, and how many of them side by side."""

    arms: list[ArmConfig] = Field(
        min_length=1, description="each an `objective`, raw_sum or lsc_sum, at a `coefficient`, its gamma"
    )
    lanes: int = Field(
        2, ge=1, description="arms that run at the same time, each with its own rollout and learner actors"
    )
