"""Why answers have no score: too long for the scorer, or failed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from allgood.views import PropertyView
from pipelines.answers.missing import Missing, missing_lines, missing_of, missing_scores
from pipelines.answers.reading import Answered
from tests.actors.tiny_models import PROMPTS, tokenizer
from tests.pipelines.tiny_run import tiny_config

NAN = float("nan")
ANSWERS = [Answered(PROMPTS[0], ("Bread.", "Flour. " * 100, "Water.", "Yeast."), ({},) * 4, ("x",) * 4)]


@pytest.mark.parametrize("kind", ["model", "ensemble"])
def test_answers_longer_than_the_limit_are_told_from_failed_ones(tmp_path: Path, kind: str) -> None:
    source = str(tmp_path / "scorer")
    tokenizer().save_pretrained(source)
    models = {"model": source} if kind == "model" else {"members": [source, source]}
    config = tiny_config(tmp_path, properties={"good": {"kind": kind, "max_tokens": 64, **models}})
    rewards = {"good": np.array([1.0, NAN, NAN, 2.0], dtype=np.float32)}
    missing = missing_scores(config, ANSWERS, rewards)
    assert missing == {"good": Missing(too_long=1, failed=1)}
    long, failed = missing_lines(config, missing)
    assert long.startswith("1 answers have no good score: they are longer than properties.good.max_tokens = 64; raise")
    assert failed.startswith("1 answers have no good score: scoring failed")


def test_a_scored_answer_without_a_reference_is_counted_apart(tmp_path: Path) -> None:
    config = tiny_config(tmp_path)
    rewards = np.array([1.0, NAN, NAN, NAN], dtype=np.float32)
    nothing = np.full(4, NAN, dtype=np.float32)
    missing = missing_of(config, ANSWERS, {"short": PropertyView(rewards, nothing, nothing, nothing)})
    assert missing == {"short": Missing(too_long=0, failed=3, without_reference=1)}
    assert "1 answers have no short reference" in missing_lines(config, missing)[1]


def test_nothing_missing_needs_no_model_and_says_nothing(tmp_path: Path) -> None:
    absent = {"kind": "model", "model": str(tmp_path / "absent")}
    config = tiny_config(tmp_path, properties={"good": absent})
    missing = missing_scores(config, ANSWERS, {"good": np.ones(4, dtype=np.float32)})
    assert missing == {"good": Missing(0, 0)}
    assert missing_lines(config, missing) == []
