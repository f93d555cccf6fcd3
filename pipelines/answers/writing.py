"""Rows to a file, in the format that its ending names; the data loader reads all of them back.

What stands with the answers is anything that a JSON line or a parquet row holds, and not all of it can be written in
the other format, or in one column. It is tried before anything is scored.
"""

from __future__ import annotations

import gzip
import json
import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from datetime import date, time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from allgood.errors import ConfigError, DataError
from pipelines.answers.reading import Answered
from pipelines.output.files import atomic_path

ENDINGS = (".jsonl", ".jsonl.gz", ".parquet")


def check_ending(path: Path) -> None:
    """ConfigError unless the ending names a format; called before anything expensive."""
    if not path.name.endswith(ENDINGS):
        raise ConfigError(f"{path}: the output must end in {', '.join(ENDINGS)}")
    if path.is_dir():
        raise ConfigError(f"{path} is a folder; give a file")


def check_fields(answers: Sequence[Answered], path: Path) -> None:
    """Refuse what `write_rows` could not write to `path` of what stands with the answers.

    Raises:
        DataError: Names the column, the row and what to do.
    """
    places = [place for answered in answers for place in answered.places]
    fields = [extra for answered in answers for extra in answered.fields]
    if not path.name.endswith(".parquet"):
        _check_json(fields, places)
        return
    for name in dict.fromkeys(name for extra in fields for name in extra):
        values = [extra.get(name) for extra in fields]
        if not _fits_parquet(values):
            # Prefixes are tried only now: the type of a column is that of all its rows.
            row = bisect_left(range(1, len(values)), True, key=lambda end: not _fits_parquet(values[:end]))
            raise DataError(
                f"{places[row]}: `{name}` is {_shown(values[row])}, which a parquet column cannot hold together with "
                f"the rows before; give `{name}` one type, leave it out, or give a .jsonl output"
            )


def write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write rows atomically. NaN stays NaN in parquet and becomes null in jsonl, which has no NaN, and dates text."""
    check_ending(path)
    with atomic_path(path) as temporary:
        if path.name.endswith(".parquet"):
            pq.write_table(_table(rows), temporary)
            return
        text = "".join(json.dumps(_as_json(row), ensure_ascii=False, allow_nan=False) + "\n" for row in rows)
        data = text.encode("utf-8")
        temporary.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)


def _table(rows: Sequence[dict[str, Any]]) -> pa.Table:
    names = list(dict.fromkeys(name for row in rows for name in row))  # of all rows: files may be uneven
    return pa.table({name: [row.get(name) for row in rows] for name in names})


def _fits_parquet(values: Sequence[object]) -> bool:
    try:
        pq.write_table(pa.table({"column": values}), pa.BufferOutputStream())
    except (pa.ArrowException, OverflowError):  # an integer of more than 64 bits overflows
        return False
    return True


def _check_json(fields: Sequence[Mapping[str, Any]], places: Sequence[str]) -> None:
    for place, extra in zip(places, fields, strict=True):
        for name, value in extra.items():
            try:
                json.dumps(_as_json(value))
            except TypeError as error:
                raise DataError(
                    f"{place}: `{name}` is {_shown(value)}, which JSON cannot hold; make it text, leave it out, or "
                    "give a .parquet output"
                ) from error


def _as_json(value: Any) -> Any:
    """The value as JSON has it: null for what is not finite, ISO text for dates and times."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {name: _as_json(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_as_json(item) for item in value]
    return value


def _shown(value: object) -> str:
    text = repr(value)
    return f"{text if len(text) <= 40 else f'{text[:37]}...'} ({type(value).__name__})"
