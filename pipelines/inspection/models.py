"""Which model fills each role of a run: the finished one, or, before its training, the model that it starts from.

Every command loads finished models only. Before the first stage has run, tokenizer and configuration of what a training
starts from are known already, and with them every text, every token and the memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from actors.cluster.placement import Resources
from allgood.scorers.loading import members_of
from allgood.scorers.spec import ClassifierSpec, EnsembleSpec, FunctionSpec, HttpSpec, ModelSpec, ScorerSpec
from pipelines.cast.request import EVALUATOR, evaluator_scorers, evaluators_of, scorer_spec
from pipelines.config.properties import FunctionProperty, HttpProperty, ModelProperty
from pipelines.config.run import RunConfig
from pipelines.config.training import RewardTrainingConfig
from pipelines.run.folder import RunFolder
from pipelines.run.start_policy import absolute_source, start_policy


@dataclass(frozen=True)
class PolicyModel:
    """pi_0. `source` is None if it is made from `policy.architecture`; the command `stage` has still to make it."""

    source: str | None
    stage: str | None = None


@dataclass(frozen=True)
class ScorerModel:
    """What scores a property, or judges it.

    Attributes:
        name: "helpful"; "evaluator.helpful" for a held-out model.
        spec: What loads it; None before its training.
        sources: Models whose tokenizers and configurations it has, one per member of an ensemble; None is the policy's
            own. Empty for a function or a served model.
        max_tokens: How much it reads.
        placement: Where it runs.
        stage: The command that has still to make it, after `allgood`; None where it exists.
    """

    name: str
    spec: ScorerSpec | None
    sources: tuple[str | None, ...]
    max_tokens: int
    placement: Resources
    stage: str | None = None

    @property
    def property(self) -> str:
        """The property that it scores or judges."""
        return self.name.removeprefix(EVALUATOR)


def policy_model(config: RunConfig) -> PolicyModel:
    """pi_0 of a run, or what SFT starts from.

    Raises:
        ConfigError: `sft: null`, and the run's `base` starts from another policy.
    """
    if config.sft is None or (RunFolder(config.base_folder).sft / "best").is_dir():
        return PolicyModel(start_policy(config).source)
    source = None if config.policy.source is None else absolute_source(config.policy.source)
    return PolicyModel(source, stage="sft RUN.yaml")


def scorer_models(config: RunConfig) -> list[ScorerModel]:
    """All scorers of a run, then its held-out models."""
    return [*(_scorer(config, name) for name in config.properties), *_evaluators(config)]


def _scorer(config: RunConfig, name: str) -> ScorerModel:
    setting = config.properties[name]
    if isinstance(setting, ModelProperty) and setting.model is None:
        folder = RunFolder(config.base_folder).reward(name) / "best"
        if not folder.is_dir():
            return _untrained(config, name, setting.train, setting.max_tokens, stage=f"reward RUN.yaml {name}")
    spec = scorer_spec(config, name)
    max_tokens = 0 if isinstance(setting, FunctionProperty | HttpProperty) else setting.max_tokens
    return ScorerModel(name, spec, _sources(spec), max_tokens, setting.placement)


def _evaluators(config: RunConfig) -> Iterator[ScorerModel]:
    finished = evaluator_scorers(config)
    for name, settings in evaluators_of(config).items():
        placement, spec = config.properties[name].placement, finished.get(name)
        if spec is None:
            stage = f"reward RUN.yaml --held-out {name}"
            yield _untrained(config, f"{EVALUATOR}{name}", settings, settings.max_tokens, stage=stage)
        else:
            yield ScorerModel(f"{EVALUATOR}{name}", spec, _sources(spec), settings.max_tokens, placement)


def _untrained(
    config: RunConfig, name: str, settings: RewardTrainingConfig, max_tokens: int, *, stage: str
) -> ScorerModel:
    source = policy_model(config).source if settings.backbone == "sft" else absolute_source(settings.backbone_source)
    placement = config.properties[name.removeprefix(EVALUATOR)].placement
    return ScorerModel(name, None, (source,), max_tokens, placement, stage)


def _sources(spec: ScorerSpec) -> tuple[str | None, ...]:
    match spec:
        case FunctionSpec() | HttpSpec():
            return ()
        case EnsembleSpec():
            return tuple(member.source for member in members_of(spec))
        case ModelSpec() | ClassifierSpec():
            return (spec.source,)
