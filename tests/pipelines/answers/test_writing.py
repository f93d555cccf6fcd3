"""Rows to files: what cannot be written is refused before anything is scored, by column and row."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from allgood.errors import DataError
from pipelines.answers.reading import Answered
from pipelines.answers.writing import check_fields, write_rows

NAN = float("nan")


def answers(values: Sequence[Any]) -> list[Answered]:
    """One answer per value, which stands alongside it as `meta`."""
    count = len(values)
    places = tuple(f"rows.jsonl, line {number}" for number in range(1, count + 1))
    return [Answered("Q", ("A",) * count, tuple({"meta": value} for value in values), places)]


@pytest.mark.parametrize(
    ("values", "ending", "line", "shown"),
    [
        ([1, 2, "three", 4, "five"], "parquet", 3, r"'three' \(str\)"),
        ([{}, {}], "parquet", 1, r"\{\} \(dict\)"),
        ([1, 2**70], "parquet", 2, "1180591620717411303424"),
        ([[1], [1, "a"]], "parquet", 2, "a list"),
        (["a", b"b"], "jsonl", 2, r"b'b' \(bytes\)"),
        (["a", {"deep": [b"b"]}], "jsonl.gz", 2, "deep"),
    ],
)
def test_what_cannot_be_written_is_named_by_column_and_row(
    values: Sequence[Any], ending: str, line: int, shown: str
) -> None:
    shown = r"\[1, 'a'\]" if shown == "a list" else shown
    with pytest.raises(DataError, match=f"rows.jsonl, line {line}: `meta` is .*{shown}.*, or give a"):
        check_fields(answers(values), Path(f"scored.{ending}"))


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_what_passes_the_check_is_written(tmp_path: Path, ending: str) -> None:
    values = [{"a": NAN, "day": date(2024, 2, 29), "many": [1.0, NAN]}, None, {"a": 2.0}]
    path = tmp_path / f"rows.{ending}"
    check_fields(answers(values), path)
    write_rows(path, [{"meta": value} for value in values])
    if ending == "jsonl":
        first = json.loads(path.read_text().splitlines()[0])
        assert first == {"meta": {"a": None, "day": "2024-02-29", "many": [1.0, None]}}
    else:
        assert pq.read_table(path)["meta"].to_pylist()[2]["a"] == 2.0
