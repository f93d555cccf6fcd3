"""From a run's configuration to the actors it needs, stage by stage."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from actors.cluster.cast import CastRequest, Part
from actors.cluster.limits import Limits
from actors.cluster.placement import Resources
from actors.learning.specs import ArmSpec, Kl, LearnerSpec
from actors.reference_policy import ReferencePolicySpec
from actors.reward import RewardSpec
from actors.rollout import Adapters, RolloutSpec
from actors.weights.transports import SharedFiles, WeightTransport
from allgood.scorers.spec import ClassifierSpec, EnsembleSpec, FunctionSpec, ModelSpec, ScorerSpec
from pipelines.cast.lane import ReferenceRole
from pipelines.config.properties import (
    ClassifierProperty,
    EnsembleProperty,
    FunctionProperty,
    HttpProperty,
    ModelProperty,
    Property,
)
from pipelines.config.run import RunConfig
from pipelines.config.training import EvaluatorConfig
from pipelines.run.folder import RunFolder
from pipelines.run.start_policy import absolute_source, start_policy

EVALUATOR = "evaluator."  # prefix of scorers that are held-out preference models: "evaluator.helpful"


def align_request(config: RunConfig) -> CastRequest:
    """Every role of an alignment. Rollout actors whose policy has adapters are its reference policy too."""
    lane = lane_request(config)
    return CastRequest(
        rollout=lane.rollout,
        rewards=reward_parts(config),
        reference_policy=None if config.align.lora else reference_policy_part(config),
        learner=lane.learner,
        timeout_s=config.placement.timeout_s,
        wait_for_nodes_s=config.placement.wait_for_nodes_s,
    )


def reference_policy_part(config: RunConfig) -> Part:
    """The reference-policy role."""
    spec = ReferencePolicySpec(
        model=start_policy(config).source,
        device=role_device(config, config.placement.reference_policy),
        dtype=config.dtype,
        threads=config.own_threads,
        micro_batch_tokens=config.align.micro_batch_tokens,
    )
    return Part(spec, placed(config, config.placement.reference_policy))


def reference_role(config: RunConfig) -> ReferenceRole:
    """Who knows pi_0 while the run is aligned: with adapters the rollout actors, which switch them off for it."""
    return "rollout" if config.align.lora else "reference_policy"


def lane_request(config: RunConfig) -> CastRequest:
    """Only what an arm cannot share with others: rollout and learner actors."""
    learner = LearnerSpec(
        model=start_policy(config).source,
        device=role_device(config, config.placement.learner),
        dtype=config.dtype,
        threads=config.own_threads,
        micro_batch_tokens=config.align.micro_batch_tokens,
        transport=weight_transport(config),
        lora=config.align.lora,
        is_sharded=config.placement.learners == "shard",
        gradient_checkpointing=config.align.gradient_checkpointing,
    )
    return CastRequest(
        rollout=_trained_rollout_part(config),
        learner=Part(learner, placed(config, config.placement.learner)),
        timeout_s=config.placement.timeout_s,
        wait_for_nodes_s=config.placement.wait_for_nodes_s,
    )


def weight_transport(config: RunConfig) -> WeightTransport:
    """How weights travel; files do so in the run folder where no other is given."""
    transport = config.placement.weights
    if isinstance(transport, SharedFiles):
        return SharedFiles(folder=str(Path(transport.folder or RunFolder(config.folder).weights).absolute()))
    return transport


def limits_of(config: RunConfig) -> Limits:
    """How long answers of actors may take, and how often lost ones are replaced."""
    placement = config.placement
    return Limits(placement.deadline_s, placement.max_retries, placement.max_restarts)


def reference_request(config: RunConfig) -> CastRequest:
    """Rollout and reward actors, and the held-out preference models that exist."""
    return CastRequest(
        rollout=rollout_part(config),
        rewards=reward_parts(config) | evaluator_parts(config),
        timeout_s=config.placement.timeout_s,
        wait_for_nodes_s=config.placement.wait_for_nodes_s,
    )


def rollout_part(config: RunConfig) -> Part:
    """The rollout role, for a policy that is not trained."""
    return Part(rollout_spec(config), placed(config, config.placement.rollout))


def _trained_rollout_part(config: RunConfig) -> Part:
    """The rollout role, for what the learners publish."""
    if config.align.lora is None:
        return rollout_part(config)
    adapters = Adapters(config.align.lora, config.align.micro_batch_tokens)
    return Part(replace(rollout_spec(config), adapters=adapters), placed(config, config.placement.rollout))


def rollout_spec(config: RunConfig) -> RolloutSpec:
    """What samples: pi_0 with the run's sampling limits."""
    return RolloutSpec(
        model=start_policy(config).source,
        max_new_tokens=config.sampling.max_new_tokens,
        max_prompt_tokens=config.sampling.max_prompt_tokens,
        stop=None if config.sampling.stop is None else tuple(config.sampling.stop),
        device=role_device(config, config.placement.rollout),
        dtype=config.dtype,
        threads=config.own_threads,
        engine=config.sampling.engine.kind,
    )


def reward_parts(config: RunConfig) -> dict[str, Part]:
    """One scorer per property, with its own placement."""
    return {
        name: Part(RewardSpec(name, scorer_spec(config, name)), placed(config, setting.placement))
        for name, setting in config.properties.items()
    }


def evaluator_parts(config: RunConfig) -> dict[str, Part]:
    """The held-out preference models that exist: "evaluator.<property>", placed like the property's scorer."""
    return {
        f"{EVALUATOR}{name}": Part(
            RewardSpec(f"{EVALUATOR}{name}", scorer), placed(config, config.properties[name].placement)
        )
        for name, scorer in evaluator_scorers(config).items()
    }


def evaluator_scorers(config: RunConfig) -> dict[str, ModelSpec]:
    """By property, the held-out preference models that exist: finished ones, and those that were trained already."""
    scorers = {}
    for name, evaluator in evaluators_of(config).items():
        folder = RunFolder(config.base_folder).evaluator(name) / "best"
        if evaluator.model is not None or folder.is_dir():
            scorers[name] = ModelSpec(
                absolute_source(evaluator.named_model or str(folder)),
                max_tokens=evaluator.max_tokens,
                device=role_device(config, config.properties[name].placement),
            )
    return scorers


def evaluators_of(config: RunConfig) -> dict[str, EvaluatorConfig]:
    """By property, the held-out preference models that the run has or is to have."""
    models = {name: value for name, value in config.properties.items() if isinstance(value, ModelProperty)}
    return {name: value.evaluator for name, value in models.items() if value.evaluator is not None}


def scorer_spec(config: RunConfig, name: str) -> ScorerSpec:
    """What scores a property."""
    setting: Property = config.properties[name]
    if isinstance(setting, FunctionProperty):
        return FunctionSpec(setting.function)
    if isinstance(setting, HttpProperty):
        return setting.spec(None if setting.tokenizer is None else absolute_source(setting.tokenizer))
    device = role_device(config, setting.placement)
    if isinstance(setting, EnsembleProperty):
        members = tuple(map(absolute_source, setting.members))
        return EnsembleSpec(members, setting.combine, max_tokens=setting.max_tokens, device=device)
    source = absolute_source(scorer_source(config, name))
    if isinstance(setting, ClassifierProperty):
        return ClassifierSpec(source, setting.label, max_tokens=setting.max_tokens, device=device)
    return ModelSpec(source, max_tokens=setting.max_tokens, device=device)


def role_resources(config: RunConfig) -> dict[str, Resources]:
    """What every role of an alignment asks for, in the order of `align_request`; needs no models."""
    rewards = {f"reward.{name}": setting.placement for name, setting in config.properties.items()}
    placement = config.placement
    reference = {} if config.align.lora else {"reference_policy": placement.reference_policy}
    roles = {"rollout": placement.rollout, **rewards, **reference, "learner": placement.learner}
    return {role: placed(config, needs) for role, needs in roles.items()}


def placed(config: RunConfig, placement: Resources) -> Resources:
    """A role's resources with the run's `threads` where it has none of its own; None still where they are worked out.

    Specs name threads too, for whoever makes a worker without Ray; where a cast runs them its seats decide.
    """
    if placement.threads is not None or config.threads == "auto":
        return placement
    return replace(placement, threads=config.threads)


def role_device(config: RunConfig, placement: Resources) -> str:
    """Where a role computes: without GPUs of its own it sees none, so on the CPU, unless the config says cuda."""
    return "cpu" if config.device == "auto" and not placement.gpus else config.device


def arm_spec(config: RunConfig) -> ArmSpec:
    """Optimiser, algorithm, length and seed of one training."""
    return ArmSpec(
        optimizer=config.align.optimizer,
        algorithm=config.align.algorithm,
        total_steps=config.align.steps,
        seed=config.seed,
        kl=Kl(config.kl.estimator, config.kl.placement),
    )


def scorer_source(config: RunConfig, name: str) -> str:
    """What scores a property: a model's name or folder, "module:function", or an ensemble's members joined by +.

    Of a served model it is the name that its server knows.
    """
    setting: Property = config.properties[name]
    if isinstance(setting, FunctionProperty):
        return setting.function
    if isinstance(setting, ClassifierProperty | HttpProperty):
        return setting.source
    if isinstance(setting, EnsembleProperty):
        return " + ".join(setting.members)
    return setting.source or str(RunFolder(config.base_folder).reward(name) / "best")
