"""Transforms: what becomes of a reward r and its reference r_ref. A tagged union on `kind`; margin z = r - r_ref."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from allgood.named_transforms import named
from pipelines.config.base import StrictModel


class IdentityTransform(StrictModel):
    """u = r - r_ref: raw rewards (centring does not move the optimum)."""

    kind: Literal["identity"] = "identity"


class LogSigmoidTransform(StrictModel):
    """u = log sigmoid(r - r_ref), the paper's LSC."""

    kind: Literal["log_sigmoid"] = "log_sigmoid"


class LogProbTransform(StrictModel):
    """u = log P(good), for scorers whose output is a log-probability; takes no reference."""

    kind: Literal["log_prob"] = "log_prob"


class SigmoidTransform(StrictModel):
    """u = sigmoid(r - r_ref), P(good) itself (PAR with one reference)."""

    kind: Literal["sigmoid"] = "sigmoid"


class MeanSigmoidTransform(StrictModel):
    """u = mean over draws of sigmoid(r - draw): P(beats a random SFT response), PAR. Needs reference kind draws."""

    kind: Literal["mean_sigmoid"] = "mean_sigmoid"


class LogMeanSigmoidTransform(StrictModel):
    """u = log of mean_sigmoid, a log-probability. Needs reference kind draws."""

    kind: Literal["log_mean_sigmoid"] = "log_mean_sigmoid"


class CalibratedTransform(StrictModel):
    """The quantile of r among SFT draws, then a function of it (InfAlign). Needs reference kind draws."""

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


class ClipTransform(StrictModel):
    """u = r - r_ref, cut to [low, high]."""

    kind: Literal["clip"] = "clip"
    low: float = Field(-5.0, description="smallest utility")
    high: float = Field(5.0, description="largest utility")

    @model_validator(mode="after")
    def _is_a_range(self) -> ClipTransform:
        if not self.low < self.high:
            raise ValueError(f"low is {self.low} and high is {self.high}, but low must be below high")
        return self


class TanhTransform(StrictModel):
    """u = scale * tanh((r - r_ref) / scale)."""

    kind: Literal["tanh"] = "tanh"
    scale: float = Field(1.0, gt=0, description="bound of |u|, in logits")


class ZScoreTransform(StrictModel):
    """u = (r - mean) / std over all SFT samples of the reference table, frozen; r_ref serves the logged margin only."""

    kind: Literal["z_score"] = "z_score"


class PowerTransform(StrictModel):
    """Power utility of P(good) = sigmoid(r - r_ref): from sigmoid - 1 (risk_aversion 0) to log_sigmoid (1)."""

    kind: Literal["power"] = "power"
    risk_aversion: float = Field(0.5, ge=0, le=1, description="0: the probability itself; 1: its logarithm")


class CustomTransform(StrictModel):
    """Your own: function(rewards [prompts, samples], references [prompts, 1]) -> utilities, torch tensors."""

    kind: Literal["custom"] = "custom"
    function: str = Field(
        pattern=r"^[\w.]+:[\w.]+$", description="module:function, importable from where the command runs"
    )
    is_log_prob: bool | None = Field(
        None,
        description="whether it gives log P(good), at most 0, as a formula needs; to be said where it matters",
    )


Transform = Annotated[
    IdentityTransform
    | LogSigmoidTransform
    | LogProbTransform
    | SigmoidTransform
    | MeanSigmoidTransform
    | LogMeanSigmoidTransform
    | CalibratedTransform
    | ClipTransform
    | TanhTransform
    | ZScoreTransform
    | PowerTransform
    | CustomTransform,
    Field(discriminator="kind"),
]


def transform_name(transform: Transform) -> str:
    """The name by which `allgood.named_transforms` knows it."""
    if isinstance(transform, CustomTransform):
        return transform.function
    if isinstance(transform, CalibratedTransform):
        return {"identity": "calibrated", "log": "log_calibrated", "exp": "exp_calibrated"}[transform.then]
    return transform.kind


def transform_options(transform: Transform) -> dict[str, float]:
    """Keyword arguments of the transform's function."""
    if isinstance(transform, CalibratedTransform):
        return {"t": transform.t} if transform.then == "exp" else {}
    return transform.model_dump(include={"low", "high", "scale", "risk_aversion"})


def is_log_prob(transform: Transform) -> bool:
    """Whether the utility is the logarithm of P(good); of a user's own transform, whether it is declared to be."""
    if isinstance(transform, CustomTransform):
        return transform.is_log_prob is True
    return named(transform_name(transform)).is_log_prob
