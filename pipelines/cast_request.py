"""From a run's configuration to the actors it needs, stage by stage."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from actors.cast import Cast, CastRequest, Part, spawn
from actors.ensemble import Combination, LowerBound, Mean, Median, Min
from actors.learner_specs import LearnerSpec
from actors.placement import Resources
from actors.reference_policy import ReferencePolicySpec
from actors.reward import RewardSpec
from actors.rollout import RolloutSpec
from actors.supervision import Who
from allgood.errors import ModelError
from pipelines.config.placement import Placement
from pipelines.config.properties import (
    ClassifierProperty,
    EnsembleProperty,
    FunctionProperty,
    LowerBoundCombination,
    MeanCombination,
    MedianCombination,
    MinCombination,
    ModelProperty,
    Property,
)
from pipelines.config.properties import Combination as CombinationConfig
from pipelines.config.run import RunConfig
from pipelines.progress import say
from pipelines.run_folder import RunFolder
from pipelines.runtime import ray_session
from pipelines.table_keys import scorer_source

EVALUATOR = "evaluator."  # prefix of scorers that are held-out preference models: "evaluator.helpful"


class Actors(Protocol):
    """What a lane needs of a cast."""

    @property
    def rollouts(self) -> list[Any]:
        """Handles of the rollout workers."""

    @property
    def rewards(self) -> dict[str, list[Any]]:
        """Handles of the reward workers, per property."""

    @property
    def reference_policies(self) -> list[Any]:
        """Handles of the reference-policy workers."""

    @property
    def learners(self) -> list[Any]:
        """Handles of the learners, in rank order."""

    def who(self, role: str, replica: int = 0) -> Who:
        """The name of an actor for messages."""

    def close(self) -> None:
        """End the actors; whoever waits for one of them gets a RoleError."""


@dataclass(frozen=True)
class SharedActors:
    """A lane of its own: rollout and learner actors of one cast, reward and reference actors of another."""

    own: Cast
    shared: Actors

    @property
    def rollouts(self) -> list[Any]:
        """The lane's own rollout workers."""
        return self.own.rollouts

    @property
    def rewards(self) -> dict[str, list[Any]]:
        """Reward workers that other lanes use too."""
        return self.shared.rewards

    @property
    def reference_policies(self) -> list[Any]:
        """Reference-policy workers that other lanes use too."""
        return self.shared.reference_policies

    @property
    def learners(self) -> list[Any]:
        """The lane's own learners."""
        return self.own.learners

    def who(self, role: str, replica: int = 0) -> Who:
        """The name of an actor for messages."""
        owner: Actors = self.own if role in ("rollout", "learner") else self.shared
        return owner.who(role, replica)

    def close(self) -> None:
        """End the lane's own actors; the shared ones belong to another cast."""
        self.own.close()


def align_request(config: RunConfig) -> CastRequest:
    """Every role of an alignment."""
    lane = lane_request(config)
    return CastRequest(
        rollout=lane.rollout,
        rewards=reward_parts(config),
        reference_policy=Part(
            ReferencePolicySpec(
                model=sft_model(config),
                device=_device(config, config.placement.reference_policy),
                dtype=config.dtype,
                threads=config.threads,
                micro_batch_tokens=config.align.micro_batch_tokens,
            ),
            _resources(config.placement.reference_policy),
        ),
        learner=lane.learner,
        timeout_s=config.placement.timeout_s,
    )


def lane_request(config: RunConfig) -> CastRequest:
    """Only what an arm cannot share with others: rollout and learner actors."""
    learner = LearnerSpec(
        model=sft_model(config),
        device=_device(config, config.placement.learner),
        dtype=config.dtype,
        threads=config.threads,
        micro_batch_tokens=config.align.micro_batch_tokens,
    )
    return CastRequest(
        rollout=rollout_part(config),
        learner=Part(learner, _resources(config.placement.learner)),
        timeout_s=config.placement.timeout_s,
    )


def reference_request(config: RunConfig) -> CastRequest:
    """Rollout and reward actors, and the held-out preference models that exist."""
    return CastRequest(
        rollout=rollout_part(config),
        rewards=reward_parts(config) | evaluator_parts(config),
        timeout_s=config.placement.timeout_s,
    )


def rollout_part(config: RunConfig) -> Part:
    """The rollout role: the SFT policy with the run's sampling limits."""
    spec = RolloutSpec(
        model=sft_model(config),
        max_new_tokens=config.sampling.max_new_tokens,
        max_prompt_tokens=config.sampling.max_prompt_tokens,
        stop=tuple(config.sampling.stop),
        device=_device(config, config.placement.rollout),
        dtype=config.dtype,
        threads=config.threads,
    )
    return Part(spec, _resources(config.placement.rollout))


def reward_parts(config: RunConfig) -> dict[str, Part]:
    """One scorer per property, with its own placement."""
    return {
        name: Part(_reward_spec(config, name), _resources(setting.placement))
        for name, setting in config.properties.items()
    }


def evaluator_parts(config: RunConfig) -> dict[str, Part]:
    """The held-out preference models that were trained: "evaluator.<property>", placed like the property's scorer."""
    parts = {}
    for name, setting in config.properties.items():
        folder = RunFolder(config.base_folder).evaluator(name) / "best"
        if isinstance(setting, ModelProperty) and setting.evaluator is not None and folder.is_dir():
            spec = RewardSpec(
                property=f"{EVALUATOR}{name}",
                kind="model",
                source=str(folder.absolute()),
                max_tokens=setting.evaluator.max_tokens,
                device=_device(config, setting.placement),
                threads=config.threads,
            )
            parts[f"{EVALUATOR}{name}"] = Part(spec, _resources(setting.placement))
    return parts


def sft_model(config: RunConfig) -> str:
    """The folder of the SFT policy, absolute, because actors run elsewhere.

    Raises:
        ModelError: It was not trained yet.
    """
    folder = RunFolder(config.base_folder).sft / "best"
    if not folder.is_dir():
        raise ModelError(f"there is no SFT policy in {folder}; train it with `allgood sft CONFIG`")
    return str(folder.absolute())


@contextmanager
def cast_for(request: CastRequest, cast: Actors | None) -> Iterator[Actors]:
    """The given actors, which stay; or fresh ones in a Ray session, which go at the end."""
    if cast is not None:
        yield cast
        return
    with ray_session(), spawn(request) as own:
        say(own.where())
        yield own


def _reward_spec(config: RunConfig, name: str) -> RewardSpec:
    setting: Property = config.properties[name]
    source = absolute_source(scorer_source(config, name))
    if isinstance(setting, FunctionProperty):
        return RewardSpec(property=name, kind="function", source=source, threads=config.threads)
    if isinstance(setting, EnsembleProperty):
        return RewardSpec(
            property=name,
            kind="ensemble",
            source=source,
            max_tokens=setting.max_tokens,
            device=_device(config, setting.placement),
            threads=config.threads,
            members=tuple(map(absolute_source, setting.members)),
            combination=_combination(setting.combine),
        )
    return RewardSpec(
        property=name,
        kind=setting.kind,
        source=source,
        max_tokens=setting.max_tokens,
        device=_device(config, setting.placement),
        threads=config.threads,
        label=setting.label if isinstance(setting, ClassifierProperty) else 1,
    )


def absolute_source(source: str) -> str:
    """A model's folder as an absolute path, because actors run elsewhere; a name on the hub as it is."""
    return str(Path(source).absolute()) if Path(source).is_dir() else source


def _combination(config: CombinationConfig) -> Combination:
    match config:
        case MeanCombination():
            return Mean()
        case MedianCombination():
            return Median()
        case MinCombination():
            return Min()
        case LowerBoundCombination():
            return LowerBound(config.penalty)


def _resources(placement: Placement) -> Resources:
    return Resources(**placement.model_dump())


def _device(config: RunConfig, placement: Placement) -> str:
    """A role without GPUs of its own sees none, and computes on the CPU unless the config insists on something else."""
    return "cpu" if config.device == "auto" and not placement.gpus else config.device
