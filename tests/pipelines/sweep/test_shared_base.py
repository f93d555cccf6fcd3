"""Several sweeps on one base: none destroys what another needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from actors.cluster.cast import Cast
from allgood.errors import ConfigError, ModelError
from pipelines.alignment.align import run_align
from pipelines.alignment.setup import set_up
from pipelines.config.loading import changed_config, save_config
from pipelines.config.run import RunConfig
from pipelines.config.sweep_loading import override_text
from pipelines.data import load_prepared, prepared_key
from pipelines.references.build import build_references
from pipelines.sweep.execution import why_anew
from pipelines.sweep.references import lacking, with_all_references
from pipelines.sweep.run import only_driver
from pipelines.sweep.shared import differing, judges_of
from pipelines.sweep.shared import make_base as complete_base
from tests.actors.tiny_models import save_policy
from tests.pipelines.data.files import data_config, pair_row, write_jsonl
from tests.pipelines.sweep.tiny_sweep import tiny_base, tiny_sweep
from tests.pipelines.tiny_references import write_references
from tests.pipelines.tiny_run import make_base


def arm(reply: str) -> dict[str, Any]:
    return {"properties.short.reference": {"kind": "canned", "replies": [reply]}, "kl.coefficient": 0.5}


def replies(config: RunConfig) -> list[str]:
    return [reference.replies[0] for reference in config.references.also["short"] if reference.kind == "canned"]


def test_a_table_that_is_built_again_goes_on_serving_earlier_sweeps(tmp_path: Path) -> None:
    base = tiny_base(tmp_path, references={"also": {"short": [{"kind": "canned", "replies": ["base"]}]}})

    def trial(reply: str) -> RunConfig:
        return changed_config(base, [f"properties.short.reference={{kind: canned, replies: [{reply}]}}"])

    assert replies(with_all_references(base, [trial("first"), trial("second")])) == ["base", "first", "second"]
    assert replies(with_all_references(base, [trial("third"), trial("first")])) == ["base", "first", "second", "third"]


def test_a_table_that_is_built_again_goes_on_serving_the_base_run(tmp_path: Path) -> None:
    base = tiny_base(tmp_path, references={"also": {"short": [{"kind": "canned", "replies": ["also"]}]}})
    own = changed_config(base, ["properties.short.reference={kind: canned, replies: [own]}"])
    save_config(own, tmp_path / "base" / "config.yaml")
    other = changed_config(tiny_base(tmp_path), ["properties.short.reference={kind: canned, replies: [other]}"])
    assert sorted(replies(with_all_references(other, [other]))) == ["also", "other", "own"]


def test_a_table_that_is_built_again_has_no_fewer_samples_of_no_fewer_prompts(tmp_path: Path) -> None:
    make_base(tmp_path)
    made = tiny_base(tmp_path, references={"num_samples": 8, "max_prompts": {"alignment": 5, "validation": 2}})
    write_references(made)
    splits = ["validation", "test"]
    asked = {"num_samples": 4, "splits": splits, "max_prompts": {"validation": 3, "test": 1}}
    wanted = with_all_references(tiny_base(tmp_path, references=asked), [made]).references
    assert (wanted.num_samples, wanted.splits) == (8, ["alignment", *splits])
    assert wanted.max_prompts == {"alignment": 5, "validation": 3, "test": 1}
    assert with_all_references(tiny_base(tmp_path), [made]).references.max_prompts == {}  # no limit is the most


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({}, None),
        (
            {"num_samples": 9},
            "asked for are 9 samples of 13 prompts (alignment, validation); those that are there have 8",
        ),
        (
            {"splits": ["validation", "test"]},
            "8 samples of 7 prompts (validation, test); those that are there have 8 of 3",
        ),
        ({"max_prompts": {"validation": 4}}, "8 samples of 14 prompts (alignment, validation)"),
        ({"max_prompts": {}}, "those that are there have 8 of 13"),
        ({"max_prompts": {"validation": 3, "alignment": 1000}}, None),  # as many as there are
        ({"num_samples": 2, "splits": ["validation"]}, None),
    ],
)
def test_a_table_serves_who_asks_for_no_more(tmp_path: Path, asked: dict[str, Any], words: str | None) -> None:
    make_base(tmp_path)
    sizes = {"num_samples": 8, "max_prompts": {"validation": 3}}
    write_references(tiny_base(tmp_path, references=sizes))
    config = tiny_base(tmp_path, references={**sizes, **asked})
    why = lacking(config, [config], judges_of(config, "gold"))
    assert words in str(why) if words else why is None


def test_raw_rewards_too_meet_no_samples_of_another_policy(tmp_path: Path) -> None:
    make_base(tmp_path)
    config = changed_config(tiny_base(tmp_path), ["properties.short.reference={kind: none}"])
    write_references(config)
    assert lacking(config, [config], judges_of(config, "gold")) is None
    save_policy(tmp_path / "base" / "sft" / "best", spread=1.0)
    assert "belongs to another run: policy" in str(lacking(config, [config], judges_of(config, "gold")))


def test_a_second_sweep_on_a_base_waits_for_the_first(tmp_path: Path) -> None:
    base = tiny_base(tmp_path)
    first, second = (tiny_sweep(tmp_path, name, arms={"no": arm("No.")}) for name in ("first", "second"))
    with only_driver(first, base):
        with pytest.raises(ConfigError, match="another sweep is running on the base"), only_driver(second, base):
            pass
        with pytest.raises(ConfigError, match="another process is running the sweep"), only_driver(first, base):
            pass
    with only_driver(second, base):
        pass


def test_a_table_that_was_built_again_has_the_same_references_and_is_not_that_of_the_checkpoint(
    tmp_path: Path, tiny_cast: Cast
) -> None:
    make_base(tmp_path)
    base = tiny_base(tmp_path)
    first, second = (
        changed_config(base, [override_text(*change) for change in arm(r).items()]) for r in ("No.", "Yes.")
    )
    build_references(with_all_references(base, [first]), tiny_cast)
    references = set_up(first).treatments("arm")["short"].references
    run_align(first, tiny_cast)
    assert why_anew(first) is None
    build_references(with_all_references(base, [second]), tiny_cast)
    assert "reference table of the base built again" in str(why_anew(first))
    assert set_up(first).treatments("arm")["short"].references == references


@pytest.fixture
def finished(tmp_path: Path) -> RunConfig:
    """A run whose base folder has everything: data of 60 prompts, an SFT policy, a reward model."""
    rows = [pair_row(number) for number in range(60) for _ in range(2)]
    config = data_config(tmp_path, pairs={"helpful": write_jsonl(tmp_path / "helpful.jsonl", rows)})
    for model in ("sft", "reward/helpful"):
        (config.folder / model / "best").mkdir(parents=True)
    complete_base(config, "gold")
    return config


def test_another_base_seed_would_split_anew_under_trained_models_and_is_refused(finished: RunConfig) -> None:
    before = load_prepared(finished.folder / "data")
    other = changed_config(finished, ["seed=1"])
    with pytest.raises(ConfigError, match="made with another `seed`; give the sweep a base of its own"):
        complete_base(other, "gold")
    (finished.folder / "config.yaml").unlink()  # as `allgood sft` leaves a folder
    with pytest.raises(
        ConfigError, match="holds models and prepared data, and this run would split its data otherwise"
    ):
        complete_base(other, "gold")
    assert not (finished.folder / "config.yaml").exists()
    assert load_prepared(finished.folder / "data") == before
    complete_base(finished, "gold")


def test_a_data_file_that_has_changed_since_is_refused(finished: RunConfig, tmp_path: Path) -> None:
    key = prepared_key(finished.folder / "data")
    write_jsonl(tmp_path / "helpful.jsonl", [pair_row(number) for number in range(70)])
    with pytest.raises(ConfigError, match="a source whose content has changed"):
        complete_base(finished, "gold")
    assert prepared_key(finished.folder / "data") == key


def test_without_models_data_are_prepared_anew(finished: RunConfig, tmp_path: Path) -> None:
    for model in ("sft", "reward/helpful"):
        (finished.folder / model / "best").rmdir()
    key = prepared_key(finished.folder / "data")
    write_jsonl(tmp_path / "helpful.jsonl", [pair_row(number) for number in range(70)])
    with pytest.raises(ModelError, match="unused"):  # the policy that SFT would start from
        complete_base(finished, "gold")
    assert prepared_key(finished.folder / "data") != key


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ("properties.helpful.train.training.epochs=2", "properties.helpful.train"),
        ("properties.helpful.model=other", "properties.helpful.model"),
        ("properties.helpful={kind: classifier, model: other}", "properties.helpful.kind"),
        ("sft.loss_on=last_turn", "sft"),
    ],
)
def test_models_that_were_trained_otherwise_are_refused_by_the_key_that_differs(
    finished: RunConfig, change: str, key: str
) -> None:
    with pytest.raises(ConfigError, match=f"another `{key}`"):
        complete_base(changed_config(finished, [change]), "gold")


def test_an_evaluator_is_refused_only_where_the_base_had_another_one(tmp_path: Path) -> None:
    base = tiny_base(tmp_path).model_dump(mode="json")

    def run(evaluator: dict[str, Any] | None) -> RunConfig:
        judged = {"kind": "model", "evaluator": evaluator, "model": "finished"}
        return RunConfig.model_validate({**base, "base": None, "properties": {**base["properties"], "short": judged}})

    keys = [
        list(differing(run(made), run(wanted)))
        for made, wanted in [({}, {"freeze_layers": 1}), (None, {"freeze_layers": 1}), ({}, None), ({}, {})]
    ]
    assert keys == [["properties.short.evaluator"], [], [], []]


@pytest.mark.parametrize(
    "change",
    [
        "properties.helpful.reference={kind: mean}",
        "objective={kind: weighted_sum} & properties.helpful.transform={kind: identity}",
        "properties.helpful.calibrate=true",
        "kl.coefficient=0.3",
        "align.steps=7",
        "references.num_samples=16",
    ],
)
def test_what_a_sweep_may_vary_is_not_what_the_base_was_made_with(finished: RunConfig, change: str) -> None:
    complete_base(changed_config(finished, change.split(" & ")), "gold")


def test_a_run_on_a_named_base_may_have_another_seed(finished: RunConfig) -> None:
    key = prepared_key(finished.folder / "data")
    complete_base(finished.model_copy(update={"name": "other", "seed": 1, "base": finished.folder}), "gold")
    assert prepared_key(finished.folder / "data") == key
