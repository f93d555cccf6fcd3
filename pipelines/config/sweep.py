"""The configuration of a sweep: one YAML file names a run, what varies in it, how to search and what is wanted."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from pipelines.config.base import StrictModel


class ValuesAxis(StrictModel):
    """One of these values; a mapping names them."""

    kind: Literal["values"] = "values"
    values: list[Any] | dict[str, Any] = Field(min_length=1)


class RangeAxis(StrictModel):
    """A number between `low` and `high`."""

    low: float
    high: float

    @model_validator(mode="after")
    def _is_a_range(self) -> RangeAxis:
        if not self.low < self.high:
            raise ValueError(f"low must be below high, got {self.low:g} and {self.high:g}")
        return self


class UniformAxis(RangeAxis):
    """Every number of the range is as likely."""

    kind: Literal["uniform"] = "uniform"


class LogUniformAxis(RangeAxis):
    """Every order of magnitude is as likely: for KL coefficients and learning rates."""

    kind: Literal["log_uniform"] = "log_uniform"

    @model_validator(mode="after")
    def _is_above_zero(self) -> LogUniformAxis:
        if self.low <= 0:
            raise ValueError(f"low must be above 0 on a logarithmic scale, got {self.low:g}")
        return self


Axis = Annotated[ValuesAxis | UniformAxis | LogUniformAxis, Field(discriminator="kind")]


class GridSearch(StrictModel):
    """Every combination of the values."""

    kind: Literal["grid"] = "grid"


class RandomSearch(StrictModel):
    """Independent draws. Each drawn setting runs with every value of `seed`, so that it has an interval."""

    kind: Literal["random"] = "random"
    trials: int = Field(20, ge=1, description="settings to draw")
    seed: int = Field(0, ge=0, description="of the draws, not of the runs")


class OptunaSearch(StrictModel):
    """Optuna's tree-structured Parzen estimator: later trials look where earlier ones were good."""

    kind: Literal["optuna"] = "optuna"
    trials: int = Field(20, ge=1, description="trials to run")
    seed: int = Field(0, ge=0, description="of the sampler, not of the runs")


class NoEarlyStopping(StrictModel):
    """Every trial runs to its end."""

    kind: Literal["none"] = "none"


class Asha(StrictModel):
    """Asynchronous successive halving on the mode's own value: the weakest trials end early.

    The rungs stand at `grace_steps` times each power of `reduction_factor`. An evaluation counts for the highest rung
    that it has reached, once per trial; where evaluations are sparser than rungs, the rungs between decide nothing. Who
    comes first to a rung goes on, having nobody to be compared with, and nobody ends at the last evaluation.
    """

    kind: Literal["asha"] = "asha"
    grace_steps: int = Field(
        1, ge=1, description="no trial ends before its first evaluation at this step or after it; the first rung"
    )
    reduction_factor: float = Field(
        3.0,
        gt=1,
        description="a trial goes on from a rung when its value is among the best one in this many of those before it",
    )


EarlyStopping = Annotated[NoEarlyStopping | Asha, Field(discriminator="kind")]


class MultiObjective(StrictModel):
    """Validation win rate up and KL down: the result is a Pareto front."""

    kind: Literal["multi_objective"] = "multi_objective"
    early_stopping: EarlyStopping = NoEarlyStopping()

    @model_validator(mode="after")
    def _runs_to_the_end(self) -> MultiObjective:
        if not isinstance(self.early_stopping, NoEarlyStopping):
            raise ValueError(
                "multi_objective cannot stop early: a trial with a lower win rate may still be on the front through "
                "its lower KL, so there is no one number to prune on. Remove early_stopping, or use single_objective "
                "with a kl_budget"
            )
        return self


class SingleObjective(StrictModel):
    """The validation win rate inside a KL budget; a trial beyond the budget is worth minus its excess in nats."""

    kind: Literal["single_objective"] = "single_objective"
    early_stopping: EarlyStopping = Asha()


Search = Annotated[GridSearch | RandomSearch | OptunaSearch, Field(discriminator="kind")]
Mode = Annotated[MultiObjective | SingleObjective, Field(discriminator="kind")]


class SweepConfig(StrictModel):
    """A sweep: alignment runs that share everything up to the reward models."""

    name: str = Field(pattern=r"^[A-Za-z0-9][\w.-]*$", description="the sweep's folder is <output_dir>/<name>")
    run: Path = Field(description="run file of the base run; its folder holds data, models and references")
    overrides: dict[str, Any] = Field(default_factory=dict, description="dotted keys of the run file, for all trials")
    output_dir: Path = Field(Path("runs"), description="folder of the sweep folders")
    arms: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="named choices that set several keys at once: name -> dotted key -> value"
    )
    space: dict[str, Axis] = Field(
        default_factory=dict, description="dotted key of the run file -> axis; `properties.*` means every property"
    )
    search: Search = GridSearch()
    mode: Mode = MultiObjective()
    kl_budget: float | None = Field(
        None,
        gt=0,
        strict=True,
        description="nats; the recommended setting spends no more, and single_objective needs one",
    )
    retries: int = Field(2, ge=0, description="how often a trial whose actors died goes on from its last checkpoint")
    max_concurrent: int | None = Field(
        None, ge=1, description="trials at the same time; absent: as many as the cluster holds"
    )

    @property
    def folder(self) -> Path:
        """The sweep's folder, `<output_dir>/<name>`."""
        return self.output_dir / self.name

    @model_validator(mode="after")
    def _has_something_to_search(self) -> SweepConfig:
        if not self.arms and not self.space:
            raise ValueError("nothing varies: give `space` or `arms`")
        ranges = [key for key, axis in self.space.items() if not isinstance(axis, ValuesAxis)]
        if isinstance(self.search, GridSearch) and ranges:
            raise ValueError(f"space.{ranges[0]} is a range, and a grid needs `values`; or use search.kind random")
        if isinstance(self.search, OptunaSearch) and "seed" in self.space:
            raise ValueError(
                "Optuna would look for the luckiest seed: remove space.seed, and repeat the settings of the front "
                "with a grid over seeds"
            )
        if not isinstance(self.space.get("seed", ValuesAxis(values=[0])), ValuesAxis):
            raise ValueError("space.seed must be `values`: seeds are repetitions, not a scale")
        if isinstance(self.mode, SingleObjective) and self.kl_budget is None:
            raise ValueError("mode single_objective needs `kl_budget`: without one, more KL is always better")
        return self
