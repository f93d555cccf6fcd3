"""Settings that contradict each other or destroy the method: refused before anything expensive starts."""

from __future__ import annotations

from collections.abc import Mapping

from actors.learning.specs import Grpo, Ppo
from allgood.errors import ConfigError
from allgood.guards import refuse_group_std
from pipelines.config.objectives import (
    NormaliseThenSumObjective,
)
from pipelines.config.properties import IdentityTransform, Property, ZScoreTransform
from pipelines.config.run import RunConfig
from pipelines.config.transforms import CustomTransform


def refuse_destructive(config: RunConfig) -> None:
    """ConfigError with the reason and what to do instead, when the run divides by a group's standard deviation where
    that changes what it optimises.
    """
    algorithm = config.align.algorithm
    if isinstance(algorithm, Grpo) and algorithm.scale == "std":
        _refuse_scale(config, "group_std", key="align.algorithm.scale std")
    if isinstance(config.objective, NormaliseThenSumObjective):
        _refuse_scale(config, "normalise_then_sum", key="objective.kind normalise_then_sum")
        _refuse_normalising(config)


def _refuse_normalising(config: RunConfig) -> None:
    """What normalised returns, one number per response with the KL inside, cannot be combined with."""
    for key, conflicts, why in (
        ("align.algorithm.kind ppo", isinstance(config.align.algorithm, Ppo), "spreads the KL over tokens"),
        (f"kl.estimator {config.kl.estimator}", config.kl.estimator != "k1", "is not the k1 that is normalised"),
        ("missing_eos_penalty", config.missing_eos_penalty > 0, "would stand outside the normalisation"),
    ):
        if conflicts:
            raise ConfigError(
                f"{key} {why}, but objective.kind normalise_then_sum gives one number per response, KL included; "
                "leave it at its default"
            )


def _refuse_scale(config: RunConfig, scale: str, *, key: str) -> None:
    transforms = {name: setting.transform for name, setting in config.properties.items()}
    for name, transform in transforms.items():
        if isinstance(transform, CustomTransform) and transform.is_log_prob is None:
            raise ConfigError(
                f"{key} may not divide log-probabilities, and nobody but you knows whether {transform.function} gives "
                f"them; set properties.{name}.transform.is_log_prob to true or false"
            )
    names = [
        transform.facts.name
        for transform in transforms.values()
        if not isinstance(transform, CustomTransform) or transform.is_log_prob
    ]
    try:
        refuse_group_std(scale, names, kl_in_reward=config.kl.placement == "reward")
    except ValueError as error:
        raise ConfigError(f"{key}: {error}") from error


def _require_log_prob(names: tuple[str, ...], properties: Mapping[str, Property], kind: str) -> None:
    for name in names:
        if not properties[name].transform.facts.is_log_prob:
            raise ConfigError(
                f"properties.{name}.transform is {properties[name].transform.kind}, but objective.kind {kind} needs "
                "log P(good): use log_sigmoid, log_prob, log_mean_sigmoid, calibrated with then: log, or your own that "
                "declares is_log_prob: true there, or objective.kind weighted_sum for other utilities"
            )


def _require_transform(
    needed: type[IdentityTransform] | type[ZScoreTransform], properties: Mapping[str, Property], kind: str
) -> None:
    for name, setting in properties.items():
        if not isinstance(setting.transform, needed):
            raise ConfigError(
                f"properties.{name}.transform is {setting.transform.kind}, but objective.kind {kind} needs "
                f"{needed.model_fields['kind'].default}; set it for every property"
            )


def _refuse_unknown(names: object, properties: Mapping[str, Property], where: str) -> None:
    unknown = [name for name in names if name not in properties]  # type: ignore[attr-defined]
    if unknown:
        raise ConfigError(
            f"{where} names {unknown[0]!r}, which is not a property; properties are: {', '.join(properties)}"
        )
