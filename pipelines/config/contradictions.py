"""Settings that contradict each other or destroy the method: refused before anything expensive starts."""

from __future__ import annotations

from actors.learning.specs import Grpo, Ppo
from actors.weights.transports import Broadcast, SharedFiles
from allgood.errors import ConfigError
from allgood.guards import refuse_group_std
from pipelines.config.objective_values import objective_of
from pipelines.config.objectives import NormaliseThenSumObjective
from pipelines.config.run import RunConfig
from pipelines.config.transforms import CustomTransform


def refuse_contradictions(config: RunConfig) -> None:
    """ConfigError for an objective that the properties cannot have, and as `refuse_destructive`."""
    objective_of(config.objective, config.properties)
    refuse_destructive(config)
    _refuse_stale(config)


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


def _refuse_stale(config: RunConfig) -> None:
    """What cannot wait for rollout actors that are behind the learner."""
    staleness, weights = config.align.staleness, config.placement.weights
    for conflicts, key, why in (
        (
            staleness > 0 and isinstance(config.objective, NormaliseThenSumObjective),
            "objective.kind normalise_then_sum",
            "has the KL of the policy that sampled inside its normalisation, where the learner's own belongs",
        ),
        (
            staleness > 0 and isinstance(weights, Broadcast),
            "placement.weights.kind broadcast",
            "sends a version while rollout actors still need the one before",
        ),
        (
            staleness > 1 and isinstance(weights, SharedFiles),
            "placement.weights.kind files",
            "keeps the last two versions only",
        ),
    ):
        if conflicts:
            raise ConfigError(
                f"align.staleness is {staleness}, but {key} {why}; choose a smaller staleness or another kind"
            )


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
