"""What an interrupted training must have in common with one that was not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.pipelines.training.tiny_jobs import largest_difference


def rows(folder: Path) -> list[dict[str, Any]]:
    """The log without seconds; empty before there is one."""
    if not (folder / "metrics.jsonl").exists():
        return []
    logged = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name != "seconds"} for row in logged]


def told(folder: Path) -> list[str]:
    """What is said of an interruption."""
    path = folder / "faults.jsonl"
    return [json.loads(line)["reason"] for line in path.read_text().splitlines()] if path.exists() else []


def assert_same_end(first: Path, second: Path) -> None:
    """Two folders of trainings: every row of the log but for seconds, and the weights to the bit."""
    assert rows(first) == rows(second)
    for name in ("last", "best"):
        assert largest_difference(first / name, second / name) == 0.0
