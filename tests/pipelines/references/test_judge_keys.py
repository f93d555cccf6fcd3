"""Scores that stored samples carry are those of the judges of today, or they are not used."""

from __future__ import annotations

from pathlib import Path

import pytest

from allgood.errors import ReferenceTableError
from pipelines.config.run import RunConfig
from pipelines.references.cached_samples import load_cached_samples
from pipelines.references.judge_keys import changed_judges, judge_keys, missing_judges
from pipelines.references.table import ReferenceTable
from pipelines.sweep.references import lacking
from pipelines.sweep.shared import judges_of
from tests.pipelines.tiny_references import write_references
from tests.pipelines.tiny_run import make_base, tiny_config

CODE = "def gold(prompts, responses):\n    return {'short': [1.0 for _ in responses]}\n"


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunConfig:
    """A run with a gold function of the user and references made with it."""
    make_base(tmp_path)
    (tmp_path / "my_gold.py").write_text(CODE)
    monkeypatch.syspath_prepend(tmp_path)
    config = tiny_config(tmp_path, evaluate={"gold": "my_gold:gold", "bars": {"short": 0.0}})
    write_references(config)
    return config


def manifest_of(config: RunConfig) -> dict[str, object]:
    return ReferenceTable.load(config.base_folder / "references").manifest


def test_scores_of_gold_before_it_changed_are_refused_by_preview_and_made_anew_by_a_sweep(
    config: RunConfig, tmp_path: Path
) -> None:
    assert changed_judges(judge_keys(config), manifest_of(config)) == []
    assert lacking(config, [config], judges_of(config, "gold")) is None
    assert load_cached_samples(config, "validation").gold
    (tmp_path / "my_gold.py").write_text(CODE.replace("1.0", "2.0"))
    assert changed_judges(judge_keys(config), manifest_of(config)) == ["gold"]
    assert "lack the scores of gold" in str(lacking(config, [config], judges_of(config, "gold")))
    assert lacking(config, [config], judges_of(config, "evaluator")) is None  # gold does not judge there
    with pytest.raises(ReferenceTableError, match="scores of gold as it was before it changed; make them again"):
        load_cached_samples(config, "validation")


def test_samples_that_nobody_judged_are_enough_for_training_and_not_for_a_sweep(tmp_path: Path) -> None:
    make_base(tmp_path)
    write_references(tiny_config(tmp_path))
    judged = tiny_config(tmp_path, evaluate={"gold": "tests.pipelines.tiny_rewards:gold", "bars": {"short": 0.0}})
    assert missing_judges(judge_keys(judged), manifest_of(judged)) == ["gold"]
    assert load_cached_samples(judged, "validation").prompt_ids
    assert "lack the scores of gold" in str(lacking(judged, [judged], judges_of(judged, "gold")))


def test_a_sweep_that_asks_for_more_samples_has_the_table_built_again(config: RunConfig) -> None:
    def asking(**changes: object) -> RunConfig:
        return config.model_copy(update={"references": config.references.model_copy(update=changes)})

    more = asking(num_samples=config.references.num_samples + 1)
    assert "asked for are 9 samples of 14 prompts (alignment, validation); those that are there have 8 of 14" in str(
        lacking(more, [more], judges_of(more, "gold"))
    )
    fewer = asking(num_samples=config.references.num_samples - 1)
    assert lacking(fewer, [fewer], judges_of(fewer, "gold")) is None
    other = asking(splits=["alignment", "validation", "test"])
    assert "8 samples of 18 prompts (alignment, validation, test); those that are there have 8 of 14" in str(
        lacking(other, [other], judges_of(other, "gold"))
    )
