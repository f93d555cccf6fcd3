"""Measurements as a file: those that version 0.1 stored are read, and written again with the same text."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from allgood.errors import DataError
from pipelines.evaluation.entry import EvaluationSummary, headlines
from pipelines.evaluation.measurements import Measurements
from pipelines.output.typed_json import as_json, from_json

ARCHIVE = Path(__file__).parents[2] / "fixtures" / "runs_0_1.tar.xz"


def stored(name: str) -> str:
    with tarfile.open(ARCHIVE) as archive:
        file = archive.extractfile(f"runs/finished/{name}")
        assert file is not None
        return file.read().decode()


@pytest.fixture(scope="module")
def text() -> str:
    return stored("evaluation/measurements.json")


def read(content: Any) -> Measurements:
    return from_json(Measurements, content, where="measurements.json")


def test_what_version_0_1_measured_is_read_and_written_with_the_same_text(text: str) -> None:
    again = json.dumps(as_json(read(json.loads(text))), indent=2, ensure_ascii=False, allow_nan=False)
    assert again + "\n" == text


def test_the_summary_of_version_0_1_holds_the_headlines_of_its_measurements(text: str) -> None:
    evaluation = json.loads(stored("summary.json"))["evaluation"]
    assert as_json(headlines(read(json.loads(text)))) == evaluation
    assert as_json(from_json(EvaluationSummary, evaluation, where="summary.json")) == evaluation


def test_a_renamed_number_is_refused_by_name(text: str) -> None:
    content = json.loads(text)
    content["aligned"]["kl_divergence"] = content["aligned"].pop("kl")
    with pytest.raises(DataError, match=r"^measurements\.json: aligned holds 'kl_divergence', which this version"):
        read(content)


def test_a_missing_number_is_refused_by_name(text: str) -> None:
    content = json.loads(text)
    del content["sft"]["share_cut"]
    with pytest.raises(DataError, match=r"^measurements\.json: sft has no 'share_cut'"):
        read(content)
