"""Whose scores make a win rate: those of the judges that the sweep uses, whatever else the cached samples hold."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from allgood.errors import DataError
from pipelines.config.run import RunConfig
from pipelines.sweep.judge import load_opponents, refuse_unmet, unjudged_notice
from tests.pipelines.sweep.tiny_sweep import tiny_base
from tests.pipelines.tiny_references import write_references
from tests.pipelines.tiny_run import make_base


@pytest.fixture
def base(tmp_path: Path) -> RunConfig:
    make_base(tmp_path)
    return tiny_base(tmp_path)


def test_scores_of_a_property_that_is_not_judged_are_left_alone(base: RunConfig) -> None:
    write_references(base, change=lambda samples: samples.append_column("gold.length", pa.nulls(len(samples))))
    opponents = load_opponents(base, "gold")
    assert list(opponents.scores) == ["short", "vowels"]
    assert {len(scores) for scores in opponents.scores["short"].values()} == {base.references.num_samples}


def test_samples_without_the_scores_of_a_judge_are_refused(base: RunConfig) -> None:
    write_references(base, change=lambda samples: samples.drop_columns(["gold.vowels"]))
    with pytest.raises(DataError, match=r"no validation prompts with gold\.vowels"):
        load_opponents(base, "gold")


def test_validation_prompts_without_cached_samples_are_counted(base: RunConfig) -> None:
    write_references(base)
    opponents = load_opponents(base, "gold")
    known = list(opponents.scores["short"])
    refuse_unmet(opponents, known)
    with pytest.raises(DataError, match="1 of 5 validation prompts have no cached samples"):
        refuse_unmet(opponents, [*known, "another"])


def test_a_property_that_nobody_judges_is_told(base: RunConfig) -> None:
    assert unjudged_notice(base, "gold") is None
    gold = base.evaluate.model_copy(update={"bars": {"short": 0.0}})
    partial = base.model_copy(update={"evaluate": gold})
    assert unjudged_notice(partial, "gold") == "nobody judges vowels: win rates are those of short"
