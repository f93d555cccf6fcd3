"""The chain of stages: which there are, and where it may start."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from allgood.errors import ConfigError
from pipelines import chain
from pipelines.chain import Stage, run_chain, stages_of
from pipelines.config.loading import load_config
from pipelines.training.reward_model import trained_properties

QUICKSTART = Path("configs/quickstart.yaml")


def names(*overrides: str) -> list[str]:
    return [stage.name for stage in stages_of(load_config(QUICKSTART, overrides))]


def test_the_stages_of_a_run_on_the_world() -> None:
    assert names() == [
        "world", "data", "sft", "reward-helpful", "reward-harmless", "reference", "align", "evaluate", "report",
    ]  # fmt: skip


def test_a_run_on_files_has_no_world_stage() -> None:
    assert names("world=null", "data.pairs={helpful: {path: a.jsonl}, harmless: {path: b.jsonl}}")[0] == "data"


def test_a_run_without_sft_starts_from_its_policy_as_it_is() -> None:
    stages = names("sft=null", "policy={model: some/instruct-model}", "tokenizer.train=false")
    assert stages[:3] == ["world", "data", "reward-helpful"]


def test_held_out_evaluators_come_after_the_reward_models() -> None:
    stages = names("properties.harmless.evaluator.backbone=some/encoder")
    assert stages[3:6] == ["reward-helpful", "reward-harmless", "held-out-harmless"]


def test_models_that_are_given_and_functions_are_not_trained() -> None:
    config = load_config(
        QUICKSTART,
        ["properties.helpful.model=some/classifier", "properties.short.kind=function", "properties.short.function=a:b"],
    )
    assert trained_properties(config) == ["harmless"]


def test_an_unknown_first_stage_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"there is no stage 'rewards'; stages of this run: world, data"):
        run_chain(load_config(QUICKSTART), first="rewards")


def test_a_finished_run_is_refused_before_anything_is_trained_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = load_config(QUICKSTART, [f"output_dir={tmp_path}"])
    (config.folder / "model").mkdir(parents=True)
    ran: list[str] = []
    monkeypatch.setattr(
        chain, "stages_of", lambda *_, **__: [Stage(n, partial(ran.append, n)) for n in ("sft", "align", "report")]
    )
    with pytest.raises(ConfigError, match=r"already holds an alignment.*allgood resume.*--overwrite"):
        run_chain(config)
    assert ran == []
    run_chain(config, first="report")
    run_chain(config, overwrite=True)
    assert ran == ["report", "sft", "align", "report"]


def test_an_encoder_backbone_gets_a_probe_beside_its_reward_model() -> None:
    stages = names("properties.helpful.train.backbone=some/encoder")
    assert stages[3:6] == ["reward-helpful", "reward-harmless", "probe-helpful"]
