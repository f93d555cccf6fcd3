"""The metrics file: what survives a kill, and what a resume removes."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from allgood.errors import AllgoodError, DataError
from pipelines.output.metrics_log import MetricsLog


@pytest.fixture
def log(tmp_path: Path) -> MetricsLog:
    return MetricsLog(tmp_path / "run" / "metrics.jsonl")


def test_rows_come_back_in_order(log: MetricsLog) -> None:
    assert log.read() == []
    log.append({"step": 1, "kl": 0.5, "per_property": {"helpful": 1.0}})
    log.append({"step": 2, "note": "größer"})
    assert log.read() == [{"step": 1, "kl": 0.5, "per_property": {"helpful": 1.0}}, {"step": 2, "note": "größer"}]


def test_numbers_that_are_not_finite_become_null_never_zero(log: MetricsLog) -> None:
    log.append({"step": 1, "kl": math.nan, "all": [math.inf, 1.0]})
    assert log.read() == [{"step": 1, "kl": None, "all": [None, 1.0]}]


def test_a_torn_last_line_is_skipped_and_then_replaced(log: MetricsLog) -> None:
    log.append({"step": 1})
    with log.path.open("a") as file:
        file.write('{"step": 2, "k')
    assert log.read() == [{"step": 1}]
    log.append({"step": 2})
    assert log.read() == [{"step": 1}, {"step": 2}]


def test_a_file_that_holds_only_a_torn_line_is_empty(log: MetricsLog) -> None:
    log.path.parent.mkdir()
    log.path.write_text('{"st')
    assert log.read() == []
    log.append({"step": 1})
    assert log.read() == [{"step": 1}]


def test_cutting_after_a_step_keeps_rows_without_a_step(log: MetricsLog) -> None:
    for row in ({"event": "start"}, {"step": 1}, {"step": 2}, {"step": 2, "split": "validation"}, {"step": 3}):
        log.append(row)
    log.cut_after(2)
    assert log.read() == [{"event": "start"}, {"step": 1}, {"step": 2}, {"step": 2, "split": "validation"}]
    assert [path.name for path in log.path.parent.iterdir()] == ["metrics.jsonl"]


def test_cutting_before_anything_was_logged_does_nothing(log: MetricsLog) -> None:
    log.cut_after(5)
    assert not log.path.exists()


@pytest.mark.parametrize("line", ["{broken", "[1]"])
def test_a_damaged_line_is_named(log: MetricsLog, line: str) -> None:
    log.append({"step": 1})
    with log.path.open("a") as file:
        file.write(line + "\n")
    with pytest.raises(DataError, match=r"metrics\.jsonl, line 2: not"):
        log.read()


def append_rows(log: MetricsLog, num_rows: int) -> None:
    for step in range(num_rows):
        log.append({"step": step, "note": 1000 * "x"})


def test_a_full_disk_is_said_so_and_whole_rows_stay(small_disk: Path) -> None:
    log = MetricsLog(small_disk / "metrics.jsonl")
    with pytest.raises(AllgoodError, match=r"the disk is full while writing .*metrics\.jsonl"):
        append_rows(log, 1000)
    rows = log.read()
    assert [row["step"] for row in rows] == list(range(len(rows)))
    assert len(rows) > 10
