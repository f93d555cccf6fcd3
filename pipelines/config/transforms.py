"""Transforms: what becomes of a reward r and its reference r_ref. A tagged union on `kind`; margin z = r - r_ref."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal

from pydantic import Field, model_validator

from allgood.transform_facts import TransformFacts, facts_of
from pipelines.config.base import StrictModel


class TransformBase(StrictModel):
    """A kind of transform. Its fields are its options, unless the kind says otherwise."""

    kind: str

    @property
    def facts(self) -> TransformFacts:
        """What `allgood` knows of it, its name there included."""
        return facts_of(self.kind)

    @property
    def options(self) -> dict[str, float]:
        """Keyword arguments of its function."""
        return self.model_dump(exclude={"kind"})


class IdentityTransform(TransformBase):
    """u = r - r_ref: raw rewards (centring does not move the optimum)."""

    kind: Literal["identity"] = "identity"


class LogSigmoidTransform(TransformBase):
    """u = log sigmoid(r - r_ref), the paper's LSC."""

    kind: Literal["log_sigmoid"] = "log_sigmoid"


class LogProbTransform(TransformBase):
    """u = log P(good), for scorers whose output is a log-probability; takes no reference."""

    kind: Literal["log_prob"] = "log_prob"


class SigmoidTransform(TransformBase):
    """u = sigmoid(r - r_ref), P(good) itself (PAR with one reference)."""

    kind: Literal["sigmoid"] = "sigmoid"


class MeanSigmoidTransform(TransformBase):
    """u = mean over draws of sigmoid(r - draw): P(beats a random draw from pi_0), PAR. Needs reference kind draws."""

    kind: Literal["mean_sigmoid"] = "mean_sigmoid"


class LogMeanSigmoidTransform(TransformBase):
    """u = log of mean_sigmoid, a log-probability. Needs reference kind draws."""

    kind: Literal["log_mean_sigmoid"] = "log_mean_sigmoid"


class CalibratedTransform(TransformBase):
    """The quantile of r among draws from pi_0, then a function of it (InfAlign). Needs reference kind draws."""

    kind: Literal["calibrated"] = "calibrated"
    then: Literal["identity", "log", "exp"] = Field(
        "log", description="log: a log-probability, towards best-of-k; exp: sign(t) exp(t q), InfAlign-CTRL"
    )
    t: float = Field(5.0, ge=-80, le=80, description="of exp; above 0 for best-of-n decoding, below for worst-of-n")

    @model_validator(mode="after")
    def _has_a_slope(self) -> CalibratedTransform:
        if self.t == 0:
            raise ValueError("t is 0, which makes every response worth the same; give a number above or below 0")
        return self

    @property
    def facts(self) -> TransformFacts:
        """Those of the function that `then` names."""
        return facts_of({"identity": "calibrated", "log": "log_calibrated", "exp": "exp_calibrated"}[self.then])

    @property
    def options(self) -> dict[str, float]:
        """Only exp has one."""
        return {"t": self.t} if self.then == "exp" else {}


class PromptZScoreTransform(TransformBase):
    """u = (r - mean) / std over draws from pi_0 on the prompt, frozen. Needs reference kind draws, num 2 or more."""

    kind: Literal["prompt_z_score"] = "prompt_z_score"


class CappedTransform(TransformBase):
    """u = min(r - r_ref, 0): raw as far as the reference, such as a quantile of pi_0, and no more beyond it."""

    kind: Literal["capped"] = "capped"


class ClipTransform(TransformBase):
    """u = r - r_ref, cut to [low, high]."""

    kind: Literal["clip"] = "clip"
    low: float = Field(-5.0, description="smallest utility")
    high: float = Field(5.0, description="largest utility")

    @model_validator(mode="after")
    def _is_a_range(self) -> ClipTransform:
        if not self.low < self.high:
            raise ValueError(f"low is {self.low} and high is {self.high}, but low must be below high")
        return self


class TanhTransform(TransformBase):
    """u = scale * tanh((r - r_ref) / scale)."""

    kind: Literal["tanh"] = "tanh"
    scale: float = Field(1.0, gt=0, description="bound of |u|, in logits")


class ZScoreTransform(TransformBase):
    """u = (r - mean) / std over all samples of the reference table, frozen; r_ref serves the logged margin only."""

    kind: Literal["z_score"] = "z_score"


class PowerTransform(TransformBase):
    """Power utility of P(good) = sigmoid(r - r_ref): from sigmoid - 1 (risk_aversion 0) to log_sigmoid (1)."""

    kind: Literal["power"] = "power"
    risk_aversion: float = Field(0.5, ge=0, le=1, description="0: the probability itself; 1: its logarithm")


class CustomTransform(TransformBase):
    """Your own: function(rewards [prompts, samples], references [prompts, 1]) -> utilities, torch tensors."""

    kind: Literal["custom"] = "custom"
    function: str = Field(
        pattern=r"^[\w.]+:[\w.]+$", description="module:function, importable from where the command runs"
    )
    is_log_prob: bool | None = Field(
        None,
        description="whether it gives log P(good), at most 0, as a formula needs; to be said where it matters",
    )

    @property
    def facts(self) -> TransformFacts:
        """Those of a user's own function, as far as the user says."""
        return replace(facts_of(self.function), is_log_prob=self.is_log_prob is True)

    @property
    def options(self) -> dict[str, float]:
        """None: what the function needs to know it knows itself."""
        return {}


Transform = Annotated[
    IdentityTransform
    | LogSigmoidTransform
    | LogProbTransform
    | SigmoidTransform
    | MeanSigmoidTransform
    | LogMeanSigmoidTransform
    | CalibratedTransform
    | PromptZScoreTransform
    | CappedTransform
    | ClipTransform
    | TanhTransform
    | ZScoreTransform
    | PowerTransform
    | CustomTransform,
    Field(discriminator="kind"),
]
