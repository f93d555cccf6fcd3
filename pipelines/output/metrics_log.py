"""`metrics.jsonl`: one JSON object per line, appended step by step, cut back to a checkpoint on resume.

A kill may leave a torn last line. Readers skip it, and the next writer removes it. A number that is not finite is
written as null: JSON has no NaN, and a missing value must not read as 0.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from allgood.errors import DataError
from pipelines.output.files import atomic_path, disk_errors

Row = dict[str, Any]


@dataclass(frozen=True)
class MetricsLog:
    """The metrics file of a run. Rows that can be cut carry an integer `step`."""

    path: Path

    def append(self, row: Mapping[str, object]) -> None:
        """Add one row and hand it to the operating system, so that it survives a kill of this process.

        Raises:
            AllgoodError: The disk is full.
        """
        line = json.dumps(_finite(row), ensure_ascii=False, allow_nan=False) + "\n"
        with disk_errors(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab+") as file:
                _drop_torn_line(file.fileno())
                file.write(line.encode())

    def read(self) -> list[Row]:
        """All complete rows, oldest first; empty when nothing was logged yet."""
        if not self.path.exists():
            return []
        lines = self.path.read_bytes().split(b"\n")[:-1]  # what follows the last newline is torn or empty
        return [self._parse(line, number) for number, line in enumerate(lines, start=1)]

    def cut_after(self, step: int) -> None:
        """Remove rows of later steps, so that a resumed run logs no step twice."""
        if not self.path.exists():
            return
        kept = [row for row in self.read() if row.get("step", step) <= step]
        with atomic_path(self.path) as temporary:
            temporary.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in kept), encoding="utf-8")

    def _parse(self, line: bytes, number: int) -> Row:
        try:
            row = json.loads(line)
        except ValueError as error:
            raise DataError(f"{self.path}, line {number}: not JSON; the file was edited or damaged") from error
        if not isinstance(row, dict):
            raise DataError(f"{self.path}, line {number}: not a JSON object; the file was edited or damaged")
        return row


def _drop_torn_line(descriptor: int) -> None:
    size = os.fstat(descriptor).st_size
    if size == 0 or os.pread(descriptor, 1, size - 1) == b"\n":
        return
    content = os.pread(descriptor, size, 0)
    os.ftruncate(descriptor, content.rfind(b"\n") + 1)


def _finite(value: object) -> object:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value
