"""References: the reward r_ref at which a response counts as good with probability 1/2. A tagged union on `kind`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pipelines.config.base import StrictModel


class NoReference(StrictModel):
    """r_ref = 0: rewards are not centred."""

    kind: Literal["none"] = "none"


class ConstantReference(StrictModel):
    """The same r_ref for every prompt."""

    kind: Literal["constant"] = "constant"
    value: float = Field(description="r_ref, in the units of the rewards")


class MeanReference(StrictModel):
    """The mean reward of samples of the SFT policy, per prompt."""

    kind: Literal["mean"] = "mean"


class MedianReference(StrictModel):
    """The median reward of samples of the SFT policy, per prompt."""

    kind: Literal["median"] = "median"


class QuantileReference(StrictModel):
    """A quantile of the rewards of samples of the SFT policy, per prompt."""

    kind: Literal["quantile"] = "quantile"
    quantile: float = Field(0.85, gt=0, lt=1, description="of the SFT policy's rewards on the prompt")
    method: Literal["gaussian", "empirical"] = Field(
        "gaussian", description="gaussian: mean + z*std, better with few samples; empirical: linear interpolation"
    )


class CannedReference(StrictModel):
    """The mean reward of fixed replies to the prompt."""

    kind: Literal["canned"] = "canned"
    replies: list[str] = Field(min_length=1, description="the same for every prompt")


class DatasetReference(StrictModel):
    """The mean reward of the data's own responses to the prompt: the property's chosen ones, else any chosen one."""

    kind: Literal["dataset"] = "dataset"


class DrawsReference(StrictModel):
    """Rewards of random samples of the SFT policy, per prompt; more than one only for transforms that average."""

    kind: Literal["draws"] = "draws"
    num: int = Field(16, ge=1, description="samples per prompt, from the reference table; 1: that reward is r_ref")


class PredictedReference(StrictModel):
    """A quantile predicted from the prompt's text by a head on the reward model or an encoder, for prompts never
    sampled too.
    """

    kind: Literal["predicted"] = "predicted"
    quantile: float = Field(0.85, gt=0, lt=1, description="of the predicted Gaussian: mean + z*std")
    encoder: str | None = Field(
        None,
        description="name or folder of a Hugging Face encoder that the head stands on; empty: the reward model itself, "
        "which kinds function and ensemble do not have",
    )
    prompts: Literal["sampled", "all"] = Field(
        "sampled",
        description="that a run uses. sampled: as with other references, `references.max_prompts` of a split; all: "
        "those beyond it too, for which no other property may need samples",
    )


Reference = Annotated[
    NoReference
    | ConstantReference
    | MeanReference
    | MedianReference
    | QuantileReference
    | CannedReference
    | DatasetReference
    | DrawsReference
    | PredictedReference,
    Field(discriminator="kind"),
]
