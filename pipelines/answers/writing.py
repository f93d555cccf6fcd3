"""Rows to a file, in the format that its ending names; the data loader reads all of them back."""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from allgood.errors import ConfigError
from pipelines.files import atomic_path

ENDINGS = (".jsonl", ".jsonl.gz", ".parquet")


def check_ending(path: Path) -> None:
    """ConfigError unless the ending names a format; called before anything expensive."""
    if not path.name.endswith(ENDINGS):
        raise ConfigError(f"{path}: the output must end in {', '.join(ENDINGS)}")
    if path.is_dir():
        raise ConfigError(f"{path} is a folder; give a file")


def write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write rows atomically. NaN stays NaN in parquet and becomes null in jsonl, which has no NaN."""
    check_ending(path)
    with atomic_path(path) as temporary:
        if path.name.endswith(".parquet"):
            pq.write_table(_table(rows), temporary)
            return
        text = "".join(json.dumps(_without_nan(row), ensure_ascii=False, allow_nan=False) + "\n" for row in rows)
        data = text.encode("utf-8")
        temporary.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)


def _table(rows: Sequence[dict[str, Any]]) -> pa.Table:
    names = list(dict.fromkeys(name for row in rows for name in row))  # of all rows: files may be uneven
    return pa.table({name: [row.get(name) for row in rows] for name in names})


def _without_nan(row: dict[str, Any]) -> dict[str, Any]:
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in row.items()
    }
