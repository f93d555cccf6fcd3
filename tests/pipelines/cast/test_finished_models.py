"""Finished models: who may score and who may judge, that they judge in evaluations, and that nothing trains them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from safetensors.torch import load_file, save_file

from allgood.errors import ConfigError, ModelError
from pipelines.alignment.checkpoints import config_hash
from pipelines.cast.finished_models import refuse_unfit_models
from pipelines.cast.request import evaluator_parts, evaluator_scorers
from pipelines.chain import run_chain
from pipelines.config.earlier import first_form
from pipelines.config.run import RunConfig
from pipelines.references.judge_keys import judge_keys
from pipelines.sweep.judge import judge_source, judged_properties
from pipelines.training.reward_model import reward_settings, trained_properties
from tests.actors.tiny_models import save_scorer
from tests.pipelines.tiny_run import tiny_config


def run(folder: Path, evaluator: dict[str, Any] | None, *, model: str | None = "some/reward-model") -> RunConfig:
    """A run with one property that `evaluator` judges."""
    liked = {"kind": "model", "model": model, "evaluator": evaluator}
    return tiny_config(folder, properties={"liked": liked}, objective={"kind": "formula", "expression": "liked"})


def test_a_finished_evaluator_judges_as_it_is_and_is_not_trained(tmp_path: Path) -> None:
    judge, reward = save_scorer(tmp_path / "judge", seed=1), save_scorer(tmp_path / "reward", seed=0)
    config = run(tmp_path, {"model": judge, "max_tokens": 99}, model=reward)
    refuse_unfit_models(config)
    assert trained_properties(config, held_out=True) == []
    scorer = evaluator_scorers(config)["liked"]
    assert (scorer.source, scorer.max_tokens) == (judge, 99)
    assert list(evaluator_parts(config)) == list(judge_keys(config)) == ["evaluator.liked"]
    assert judge_source(config) == "evaluator"
    assert judged_properties(config, "evaluator") == ["liked"]
    with pytest.raises(ConfigError, match=r"properties\.liked\.evaluator\.model names a finished model"):
        reward_settings(config, "liked", held_out=True)


def test_a_reward_model_does_not_judge_itself_wherever_it_lies(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="is the reward model itself"):
        run(tmp_path, {"model": "some/reward-model"})
    judge, reward = save_scorer(tmp_path / "judge"), save_scorer(tmp_path / "reward")  # of one seed: the same weights
    with pytest.raises(
        ConfigError, match=r"properties\.liked\.evaluator\.model .* has the weights of the reward model"
    ):
        refuse_unfit_models(run(tmp_path, {"model": judge}, model=reward))
    trained_here = run(tmp_path, {"model": judge}, model=None)
    refuse_unfit_models(trained_here)  # its reward model comes later
    save_scorer(tmp_path / "base" / "reward" / "liked" / "best")
    with pytest.raises(ConfigError, match="has the weights of the reward model"):
        refuse_unfit_models(trained_here)


def test_a_judge_with_two_labels_is_refused_before_the_first_stage(tmp_path: Path) -> None:
    judge, reward = save_scorer(tmp_path / "judge", num_labels=2), save_scorer(tmp_path / "reward")
    with pytest.raises(ModelError, match=r"properties\.liked\.evaluator: reward model .* has 2 labels"):
        run_chain(run(tmp_path, {"model": judge}, model=reward))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"kind": "model", "model": "two"}, "reward model .*two' has 2 labels"),
        ({"kind": "classifier", "model": "one"}, "classifier .*one' has 1 label"),
        ({"kind": "classifier", "model": "two", "label": 2}, "has no label 2"),
        ({"kind": "ensemble", "members": ["one", "two"]}, "reward model .*two' has 2 labels"),
        ({"kind": "ensemble", "members": ["one", "three"]}, "three' does not exist"),
    ],
)
def test_scorers_are_looked_at_before_the_first_stage(tmp_path: Path, setting: dict[str, Any], message: str) -> None:
    save_scorer(tmp_path / "one")
    save_scorer(tmp_path / "two", num_labels=2)
    placed = {
        key: str(tmp_path / value) if key == "model" else [str(tmp_path / member) for member in value]
        for key, value in setting.items()
        if key in ("model", "members")
    }
    objective = {"kind": "formula", "expression": "tone"}
    config = tiny_config(tmp_path, properties={"tone": setting | placed}, objective=objective)
    with pytest.raises(ModelError, match=rf"properties\.tone: .*{message}"):
        run_chain(config)


def test_an_untrained_head_is_found_before_the_first_stage(tmp_path: Path) -> None:
    reward, headless = save_scorer(tmp_path / "reward"), save_scorer(tmp_path / "headless", seed=1)
    weights = tmp_path / "headless" / "model.safetensors"
    tensors = {name: tensor for name, tensor in load_file(weights).items() if not name.startswith("classifier.")}
    save_file(tensors, weights, metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"properties\.liked: .* is no trained scorer: it lacks .*classifier\."):
        run_chain(run(tmp_path, None, model=headless))
    with pytest.raises(ModelError, match=r"properties\.liked\.evaluator: .* is no trained scorer"):
        run_chain(run(tmp_path, {"model": headless}, model=reward))


def test_settings_of_a_training_are_refused_with_a_finished_model(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="`freeze_layers` says nothing"):
        run(tmp_path, {"model": "some/judge", "freeze_layers": 1})


def test_runs_of_earlier_versions_keep_their_hash(tmp_path: Path) -> None:
    trained, finished = run(tmp_path, {"freeze_layers": 1}), run(tmp_path, {"model": "some/judge"})
    assert "model" not in first_form(trained)["properties"]["liked"]["evaluator"]
    assert first_form(finished)["properties"]["liked"]["evaluator"]["model"] == "some/judge"
    assert config_hash(trained) != config_hash(finished)
