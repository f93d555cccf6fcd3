"""What `allgood serve` can be told: a settings file, and `key=value` overrides behind it. Secrets are in neither."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, model_validator

from actors.cluster.placement import Resources
from allgood.errors import ConfigError
from allgood.scorers import yaml12
from pipelines.config.base import StrictModel
from pipelines.config.loading import read_yaml

TOKEN_VARIABLE = "ALLGOOD_SERVE_TOKEN"
"""The environment variable that holds the bearer token."""

LOOPBACK = ("127.0.0.1", "localhost", "::1")


class ReplicaSettings(StrictModel):
    """How many replicas of a model run, and where: one Ray Serve deployment."""

    resources: Resources = Resources()
    max_replicas: int | None = Field(None, ge=1, description="autoscale from resources.replicas up to this; absent: no")
    upscale_delay_s: float = Field(
        30.0, ge=0, description="seconds of load before a replica is added, as Ray Serve has it"
    )

    @model_validator(mode="after")
    def _upwards(self) -> ReplicaSettings:
        if self.max_replicas is not None and self.max_replicas < self.resources.replicas:
            raise ValueError(f"max_replicas must be at least resources.replicas = {self.resources.replicas}")
        if self.resources.shares_gpu_with is not None or self.resources.apart_from:
            raise ValueError("resources.shares_gpu_with and apart_from are for roles of a run; give a share of a GPU")
        return self


class ScorerSettings(ReplicaSettings):
    """How the scorer of a property runs."""

    resources: Resources = Resources(replicas=2)
    rows_per_call: int = Field(8, ge=1, description="rows of one request that go to a replica together")


class SamplesSettings(ReplicaSettings):
    """How fresh samples of pi_0 are drawn, where a `rewards.yaml` has a start policy."""

    waiting_prompts: int = Field(
        1024, ge=1, description="prompts of an objective that are sampled or wait for it; beyond them the answer is 429"
    )
    cached_prompts: int = Field(
        65_536, ge=1, description="prompts whose references are remembered; those asked for longest ago go first"
    )
    timeout_s: float = Field(600.0, gt=0, description="longest time for one prompt, waiting included, in seconds")


class Limits(StrictModel):
    """What a request may ask for, and how much may wait."""

    body_bytes: int = Field(8_000_000, ge=1, description="longest body of a request")
    rows: int = Field(1024, ge=1, description="most rows of one request")
    characters: int = Field(200_000, ge=1, description="longest prompt or response")
    waiting_rows: int = Field(8192, ge=1, description="rows of all requests in work; beyond them the answer is 429")
    deadline_s: float = Field(60.0, gt=0, description="longest time for one request, in seconds")
    drain_s: float = Field(30.0, gt=0, description="time that requests have to end when the service is stopped")

    @model_validator(mode="after")
    def _one_request_fits(self) -> Limits:
        if self.rows > self.waiting_rows:
            raise ValueError("limits.rows must be at most limits.waiting_rows, or the largest request never fits")
        return self


class ServeSettings(StrictModel):
    """Everything `allgood serve` can be told. The first objective is called `name`; others are served alongside it."""

    name: str = Field("default", min_length=1, description="name of the objective that is given first")
    objectives: dict[str, str] = Field({}, description="further objectives by name: rewards.yaml, export or run folder")
    host: str = Field("127.0.0.1", description="address to bind; any but loopback needs a bearer token, and Ray's")
    port: int = Field(8000, ge=0, le=65535, description="0 takes a free one")
    scorer: ScorerSettings = ScorerSettings()
    scorers: dict[str, ScorerSettings] = Field({}, description="by property, in place of `scorer`")
    samples: SamplesSettings = SamplesSettings()
    limits: Limits = Limits()
    start_timeout_s: float = Field(600.0, gt=0, description="longest wait for the scorers to load, in seconds")

    @property
    def is_loopback(self) -> bool:
        """Whether nobody outside this machine can connect."""
        return self.host in LOOPBACK

    def of_property(self, name: str) -> ScorerSettings:
        """How the scorer of a property runs."""
        return self.scorers.get(name, self.scorer)


def load_settings(path: Path | None, overrides: Sequence[str]) -> ServeSettings:
    """Settings of a file (absent: defaults) with `key.sub=value` overrides.

    Raises:
        ConfigError: Names the key and what is wrong with it.
    """
    raw = {} if path is None else read_yaml(path)
    for override in overrides:
        _apply(raw, override)
    try:
        return ServeSettings.model_validate(raw)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"]) or "settings"
        source = "allgood serve" if path is None else str(path)
        raise ConfigError(f"{source}: `{key}`: {first['msg'].removeprefix('Value error, ')}") from None


def _apply(raw: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    names = key.strip().split(".")
    if not equals or not all(names):
        raise ConfigError(f"override `{override}` must read key=value, such as port=8001")
    target = raw
    for name in names[:-1]:
        inner = target.setdefault(name, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"override `{override}`: `{name}` has no keys below it")
        target = inner
    target[names[-1]] = yaml12.parse_one_line(text, source=f"override `{override}`")
