"""Properties: who scores one, against which reference, through which transform. Tagged unions on `kind`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pipelines.config.base import StrictModel
from pipelines.config.placement import Placement
from pipelines.config.training import RewardTrainingConfig


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


Reference = Annotated[
    NoReference | ConstantReference | MeanReference | QuantileReference | CannedReference, Field(discriminator="kind")
]


class IdentityTransform(StrictModel):
    """u = r - r_ref: raw rewards (centring does not move the optimum)."""

    kind: Literal["identity"] = "identity"


class LogSigmoidTransform(StrictModel):
    """u = log sigmoid(r - r_ref), the paper's LSC."""

    kind: Literal["log_sigmoid"] = "log_sigmoid"


class LogProbTransform(StrictModel):
    """u = log P(good), for scorers whose output is a probability."""

    kind: Literal["log_prob"] = "log_prob"


Transform = Annotated[IdentityTransform | LogSigmoidTransform | LogProbTransform, Field(discriminator="kind")]


class PropertyBase(StrictModel):
    """What every property has, whoever scores it."""

    placement: Placement = Placement()


class ModelProperty(PropertyBase):
    """A Bradley-Terry reward model: trained here (`train`), or any one-label sequence classifier (`model`)."""

    kind: Literal["model"] = "model"
    model: str | None = Field(
        None, description="name or folder; absent: the model that `allgood reward` leaves in the run folder"
    )
    train: RewardTrainingConfig = RewardTrainingConfig()
    evaluator: RewardTrainingConfig | None = Field(
        None, description="held-out preference model, trained on the pairs of the alignment half with another seed"
    )
    reference: Reference = QuantileReference()
    transform: Transform = LogSigmoidTransform()
    max_tokens: int = Field(
        512, ge=8, description="scoring limit in tokens; the prompt is cut from the left at a turn boundary"
    )
    calibrate: bool = Field(
        False, description="divide rewards and references by the temperature fitted on validation pairs"
    )


class ClassifierProperty(PropertyBase):
    """A sequence classifier whose probability of `label` is P(good)."""

    kind: Literal["classifier"] = "classifier"
    model: str = Field(description="name or folder of the classifier")
    label: int = Field(1, ge=0, description="index of the label that means good")
    transform: LogProbTransform = LogProbTransform()
    reference: NoReference = NoReference()
    max_tokens: int = Field(512, ge=8, description="scoring limit in tokens")


class FunctionProperty(PropertyBase):
    """A function `module:function(prompts, responses) -> floats` (rules, other people's rewards), called on batches."""

    kind: Literal["function"] = "function"
    function: str = Field(
        pattern=r"^[\w.]+:[\w.]+$", description="module:function, importable from where the command runs"
    )
    reference: Reference = NoReference()
    transform: Transform = LogSigmoidTransform()


Property = Annotated[ModelProperty | ClassifierProperty | FunctionProperty, Field(discriminator="kind")]
