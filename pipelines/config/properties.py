"""Properties: who scores one, against which reference, through which transform. Tagged unions on `kind`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from allgood.scorers.combination import LowerBound, Mean, Median, Min
from allgood.scorers.hub_names import at_revision
from allgood.scorers.spec import ClassifierSpec, EnsembleSpec, ModelSpec
from allgood.views import GoodFrom
from pipelines.config.base import REVISION
from pipelines.config.property_base import PropertyBase, refuse_mismatch, refuse_without_features
from pipelines.config.references import (
    CannedReference,
    ConstantReference,
    DatasetReference,
    DrawsReference,
    MeanReference,
    MedianReference,
    NoReference,
    PredictedReference,
    QuantileReference,
    Reference,
)
from pipelines.config.served import HttpProperty
from pipelines.config.training import EvaluatorConfig, RewardTrainingConfig
from pipelines.config.transforms import (
    CalibratedTransform,
    CappedTransform,
    ClipTransform,
    CustomTransform,
    IdentityTransform,
    LogMeanSigmoidTransform,
    LogProbTransform,
    LogSigmoidTransform,
    MeanSigmoidTransform,
    PowerTransform,
    PromptZScoreTransform,
    SigmoidTransform,
    TanhTransform,
    Transform,
    ZScoreTransform,
)

__all__ = [
    "CalibratedTransform",
    "CannedReference",
    "CappedTransform",
    "ClassifierProperty",
    "ClipTransform",
    "Combination",
    "ConstantReference",
    "CustomTransform",
    "DatasetReference",
    "DrawsReference",
    "EnsembleProperty",
    "FunctionProperty",
    "HttpProperty",
    "IdentityTransform",
    "LogMeanSigmoidTransform",
    "LogProbTransform",
    "LogSigmoidTransform",
    "MeanReference",
    "MeanSigmoidTransform",
    "MedianReference",
    "ModelProperty",
    "NoReference",
    "PowerTransform",
    "PredictedReference",
    "PromptZScoreTransform",
    "Property",
    "QuantileReference",
    "Reference",
    "SigmoidTransform",
    "TanhTransform",
    "Transform",
    "ZScoreTransform",
]


class ModelProperty(PropertyBase):
    """A Bradley-Terry reward model: trained here (`train`), or any one-label sequence classifier (`model`)."""

    kind: Literal["model"] = "model"
    model: str | None = Field(
        None, description="name or folder; absent: the model that `allgood reward` leaves in the run folder"
    )
    revision: str | None = Field(None, description=f"of a `model` on the hub; {REVISION}")
    train: RewardTrainingConfig = RewardTrainingConfig()
    evaluator: EvaluatorConfig | None = Field(
        None,
        description="held-out preference model: a finished one, or trained on the pairs of the alignment half with "
        "another seed",
    )
    reference: Reference = QuantileReference()
    transform: Transform = LogSigmoidTransform()
    max_tokens: int = Field(
        ModelSpec.max_tokens,
        ge=8,
        description="scoring limit in tokens; the prompt is cut from the left at a turn boundary",
    )
    calibrate: bool = Field(
        False, description="divide rewards and references by the temperature fitted on validation pairs"
    )

    @model_validator(mode="after")
    def _transform_fits_reference(self) -> ModelProperty:
        refuse_mismatch(self.transform, self.reference)
        return self

    @model_validator(mode="after")
    def _nobody_judges_itself(self) -> ModelProperty:
        if self.model is not None and self.evaluator is not None and self.evaluator.named_model == self.source:
            raise ValueError(
                f"evaluator.model {self.model!r} is the reward model itself, which cannot judge what was trained on "
                "it; give another model, or no evaluator"
            )
        return self

    @model_validator(mode="after")
    def _a_revision_belongs_to_a_name(self) -> ModelProperty:
        if self.revision is not None and self.model is None:
            raise ValueError(
                f"revision {self.revision!r} belongs to a `model`, and this one is trained here; leave it out, or give "
                "`train.revision` for the backbone"
            )
        return self

    @property
    def source(self) -> str | None:
        """The finished model: folder, or name on the hub with its revision."""
        return None if self.model is None else at_revision(self.model, self.revision)

    @property
    def trains_evaluator(self) -> bool:
        """Whether the held-out preference model is trained here."""
        return self.evaluator is not None and self.evaluator.model is None


class ClassifierProperty(PropertyBase):
    """A sequence classifier whose probability of `label` is P(good)."""

    kind: Literal["classifier"] = "classifier"
    model: str = Field(description="name or folder of the classifier")
    revision: str | None = Field(None, description=f"of a `model` on the hub; {REVISION}")
    label: int = Field(ClassifierSpec.label, ge=0, description="index of the label that means good")
    transform: LogProbTransform = LogProbTransform()
    reference: NoReference = NoReference()
    max_tokens: int = Field(ClassifierSpec.max_tokens, ge=8, description="scoring limit in tokens")

    @property
    def source(self) -> str:
        """The classifier: folder, or name on the hub with its revision."""
        return at_revision(self.model, self.revision)


class FunctionProperty(PropertyBase):
    """A function `module:function(prompts, responses) -> floats` (rules, other people's rewards), called on batches."""

    kind: Literal["function"] = "function"
    function: str = Field(
        pattern=r"^[\w.]+:[\w.]+$", description="module:function, importable from where the command runs"
    )
    reference: Reference = NoReference()
    transform: Transform = LogSigmoidTransform()
    zero_is_a_score: bool = Field(
        False, description="whether many exact zeros are right; else they are taken for failures, which should be NaN"
    )

    @model_validator(mode="after")
    def _transform_fits_reference(self) -> FunctionProperty:
        refuse_mismatch(self.transform, self.reference)
        refuse_without_features(self.reference, "a function has none")
        return self


Combination = Annotated[Mean | Median | Min | LowerBound, Field(discriminator="kind")]


class EnsembleProperty(PropertyBase):
    """Several one-label reward models as one: combined before the reference is subtracted and the transform applied."""

    kind: Literal["ensemble"] = "ensemble"
    members: list[str] = Field(
        min_length=2,
        description="names (or name@revision) or folders, such as <run>/reward/<property>/best with other seeds",
    )
    combine: Combination = EnsembleSpec.combination
    reference: Reference = QuantileReference()
    transform: Transform = LogSigmoidTransform()
    max_tokens: int = Field(EnsembleSpec.max_tokens, ge=8, description="scoring limit in tokens, of every member")

    @model_validator(mode="after")
    def _transform_fits_reference(self) -> EnsembleProperty:
        refuse_mismatch(self.transform, self.reference)
        refuse_without_features(self.reference, "an ensemble has several")
        return self


Property = Annotated[
    ModelProperty | ClassifierProperty | FunctionProperty | EnsembleProperty | HttpProperty,
    Field(discriminator="kind"),
]


def good_from(setting: Property) -> GoodFrom:
    """Where P(good) of a property is read: where its transform says, and a classifier computes it in log space."""
    return "log_prob" if isinstance(setting, ClassifierProperty) else setting.transform.facts.good_from
