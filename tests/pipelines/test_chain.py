"""The chain of stages: which there are, and where it may start."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from allgood.errors import ConfigError, RoleError
from pipelines import chain
from pipelines.chain import Stage, go_on, run_chain, stages_of
from pipelines.config.loading import load_config, save_config
from pipelines.run.unfinished import Unfinished, left_in
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


class Interrupted:
    """Stages of a chain that write down their names; one of them fails once."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, failing: str) -> None:
        self.ran: list[str] = []
        self._failing = failing
        stages = [Stage(name, partial(self._run, name)) for name in ("sft", "reward-helpful", "align", "report")]
        monkeypatch.setattr(chain, "stages_of", lambda *_, **__: stages)

    def _run(self, name: str) -> None:
        self.ran.append(name)
        if name == self._failing:
            self._failing = ""
            raise RoleError("a worker died")


def test_an_interrupted_chain_goes_on_with_the_stage_that_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = load_config(QUICKSTART, [f"output_dir={tmp_path}"])
    stages = Interrupted(monkeypatch, "reward-helpful")
    with pytest.raises(RoleError, match="a worker died"):
        run_chain(config)
    left = left_in(config.folder)
    assert left is not None
    stages.ran.clear()
    go_on(left)
    assert stages.ran == ["reward-helpful", "align", "report"]
    assert left_in(config.folder) is None


@pytest.mark.parametrize("has_begun", [True, False])
def test_an_alignment_that_the_chain_has_begun_is_resumed_and_another_one_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_begun: bool
) -> None:
    config = load_config(QUICKSTART, [f"output_dir={tmp_path}"])
    stages = Interrupted(monkeypatch, "align")
    monkeypatch.setattr(chain, "_resume_alignment", lambda config: stages.ran.append("resume"))
    with pytest.raises(RoleError):
        run_chain(config)
    earlier = config if has_begun else config.model_copy(update={"seed": config.seed + 1})
    save_config(earlier, config.folder / "config.yaml")
    left = left_in(config.folder)
    assert left is not None
    stages.ran.clear()
    go_on(left)
    assert stages.ran == ["resume" if has_begun else "align", "report"]


def test_a_note_of_stages_that_the_run_has_not_is_refused(tmp_path: Path) -> None:
    config = load_config(QUICKSTART, [f"output_dir={tmp_path}"])
    with pytest.raises(ConfigError, match=r"unfinished.yaml names a stage 'dance', which this run has not"):
        go_on(Unfinished(config, ("sft", "dance")))


def test_an_encoder_backbone_gets_a_probe_beside_its_reward_model() -> None:
    stages = names("properties.helpful.train.backbone=some/encoder")
    assert stages[3:6] == ["reward-helpful", "reward-harmless", "probe-helpful"]
