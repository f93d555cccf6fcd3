"""Finished held-out models, looked at before anything expensive: they must be able to judge, and be no training reward.

A judge that is the reward model itself would find whatever was trained on it good, and hacking best of all.
"""

from __future__ import annotations

from allgood.errors import ConfigError, ModelError
from allgood.scorers.models import check_reward_model
from pipelines.cast.request import evaluators_of, scorer_source
from pipelines.config.run import RunConfig
from pipelines.output.hashes import model_hash
from pipelines.run.folder import RunFolder


def refuse_unfit_evaluators(config: RunConfig) -> None:
    """Look at every `properties.X.evaluator.model`.

    Raises:
        ModelError: It is no one-label sequence classifier.
        ConfigError: Its weights are those of the property's reward model, wherever the two lie.
    """
    for name, evaluator in evaluators_of(config).items():
        if evaluator.named_model is None:
            continue
        try:
            check_reward_model(evaluator.named_model)
        except ModelError as error:
            raise ModelError(f"properties.{name}.evaluator: {error}") from None
        trained_on = scorer_source(config, name)
        if not _is_still_to_come(config, name) and model_hash(trained_on) == model_hash(evaluator.named_model):
            raise ConfigError(
                f"properties.{name}.evaluator.model {evaluator.model!r} has the weights of the reward model "
                f"{trained_on!r}, which cannot judge what was trained on it; give another model, or no evaluator"
            )


def _is_still_to_come(config: RunConfig, name: str) -> bool:
    """Whether the reward model will be trained here, and was not yet."""
    trained = RunFolder(config.base_folder).reward(name) / "best"
    return scorer_source(config, name) == str(trained) and not trained.is_dir()
