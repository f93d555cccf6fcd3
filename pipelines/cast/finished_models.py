"""Finished scorers and judges, looked at without loading them, before anything expensive happens.

Whoever scores must be what the property says, and a judge must be no training reward: one that is the reward model
itself would find whatever was trained on it good, and hacking best of all.
"""

from __future__ import annotations

from pathlib import Path

from allgood.errors import ConfigError, naming
from allgood.scorers.models import check_classifier, check_reward_model, check_trained
from pipelines.cast.request import evaluators_of, scorer_source
from pipelines.cast.served_models import check_served_models
from pipelines.config.properties import ClassifierProperty, EnsembleProperty, ModelProperty
from pipelines.config.run import RunConfig
from pipelines.output.hashes import model_hash
from pipelines.run.folder import RunFolder


def refuse_unfit_models(config: RunConfig) -> None:
    """Look at every model that a property names, and at every `properties.X.evaluator.model`; ask those served.

    Raises:
        ModelError: There is no such model, its head is untrained, or it has other labels than its property needs.
        ConfigError: A judge has the weights of the property's reward model, wherever the two lie.
        ModelError, RoleError, ConfigError: As `check_served_models`.
    """
    for name in config.properties:
        with naming(f"properties.{name}"):
            _check_scorer(config, name)
    for name, evaluator in evaluators_of(config).items():
        if evaluator.named_model is not None:
            with naming(f"properties.{name}.evaluator"):
                _check_reward_model(evaluator.named_model)
            _refuse_judging_itself(config, name, evaluator.named_model)
    check_served_models(config)


def _check_scorer(config: RunConfig, name: str) -> None:
    match config.properties[name]:
        case ModelProperty(source=str() as source):
            _check_reward_model(source)
        case ClassifierProperty(source=source, label=label):
            check_classifier(source, label)
            _check_head(source)
        case EnsembleProperty(members=members):
            for member in members:
                _check_reward_model(member)


def _check_reward_model(source: str) -> None:
    check_reward_model(source)
    _check_head(source)


def _check_head(source: str) -> None:
    """Look at the weights of a folder. Those of a hub's model are not fetched for it: its actor looks at them."""
    if Path(source).is_dir():
        check_trained(source)


def _refuse_judging_itself(config: RunConfig, name: str, judge: str) -> None:
    trained = RunFolder(config.base_folder).reward(name) / "best"
    source = scorer_source(config, name)
    is_still_to_come = source == str(trained) and not trained.is_dir()
    if not is_still_to_come and model_hash(source) == model_hash(judge):
        raise ConfigError(
            f"properties.{name}.evaluator.model {judge!r} has the weights of the reward model {source!r}, which cannot "
            "judge what was trained on it; give another model, or no evaluator"
        )
