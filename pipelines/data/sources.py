"""Rows of a data source: .jsonl, .jsonl.gz and .parquet files, and datasets on the Hugging Face hub.

Every row carries the place where it stands, so that an error can name file and line.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from allgood.errors import DataError, first_line
from allgood.scorers.hashes import sha256_of
from pipelines.config.data import FILE_ENDINGS, DataSource

_TOO_DEEP = "lists or objects stand in one another too deeply to be read"


@dataclass(frozen=True)
class Row:
    """One row as read, by our names of its fields. `place` is for messages: "pairs.jsonl, line 7"."""

    place: str
    values: dict[str, Any]
    unread: tuple[str, ...] = ()
    """Columns that nobody reads, whatever they hold."""


def read_rows(source: DataSource) -> list[Row]:
    """All rows of a source, at most `source.limit`.

    Raises:
        DataError: The source is missing, empty or unreadable (names the line where there is one), or lacks a column
            that `columns` names.
    """
    rows = [_our_row(row, source) for row in islice(_rows(source), source.limit)]
    if not rows:
        raise DataError(f"{source.path} has no rows")
    for ours, theirs in source.columns.items():
        if theirs is not None and not any(ours in row.values for row in rows):
            has = ", ".join(
                sorted({source.wanted.get(name, name) for row in rows for name in (*row.values, *row.unread)})
            )
            raise DataError(f"{source.path} has no column {theirs!r}, which `columns` names for `{ours}`; it has {has}")
    return rows


def unread_columns(rows: Iterable[Row]) -> dict[str, str]:
    """For reports: the names of columns that nobody reads, in case one should be; empty where all are read."""
    names = {name: None for row in rows for name in row.unread}
    return {"unread_columns": ", ".join(names)} if names else {}


def source_identity(source: DataSource) -> dict[str, str | None]:
    """What makes two readings of a source the same: a file's content; a hub dataset's name, subset and split."""
    if not is_file(source):
        return {"hub": source.path, "subset": source.hub_subset, "split": source.hub_split}
    return {"sha256": file_sha256(Path(source.path))}


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    _check_exists(path)
    return sha256_of(path)


def is_file(source: DataSource) -> bool:
    """Whether a source is a local file; else it is a dataset on the hub."""
    path = Path(source.path)
    return source.path.endswith(FILE_ENDINGS) or path.is_absolute() or source.path.startswith(".") or path.exists()


def _our_row(row: Row, source: DataSource) -> Row:
    if not source.fields_of_a_row:
        _refuse_lone_surrogates(row.values, row.place)
        return row
    wanted = source.wanted
    values = {ours: row.values[theirs] for ours, theirs in wanted.items() if theirs in row.values}
    _refuse_lone_surrogates(values, row.place)
    read = set(wanted.values())
    return Row(row.place, values, (*(name for name in row.values if name not in read), *row.unread))


def _check_exists(path: Path) -> None:
    if path.is_dir():
        raise DataError(
            f"{path} is a folder; give one of its files ({', '.join(FILE_ENDINGS)}) or a dataset on the hub"
        )
    if not path.is_file():
        raise DataError(f"there is no data file {path}; check the path, or give the name of a dataset on the hub")
    if path.stat().st_size == 0:
        raise DataError(f"the data file {path} is empty")


def _rows(source: DataSource) -> Iterator[Row]:
    """The rows under the names of the dataset; where that is cheaper, without the columns that are not wanted."""
    if not is_file(source):
        return _read_hub(source)
    path = Path(source.path)
    _check_exists(path)
    if path.name.endswith((".jsonl", ".jsonl.gz")):
        return _read_jsonl(path)
    if path.name.endswith(".parquet"):
        return _read_parquet(path, source)
    raise DataError(f"{path} has an unknown ending; data files are {', '.join(FILE_ENDINGS)}")


def _read_jsonl(path: Path) -> Iterator[Row]:
    number = 0
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield Row(f"{path}, line {number}", _json_object(line, f"{path}, line {number}"))
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read after line {number}: {error}") from error


def _json_object(line: bytes, place: str) -> dict[str, Any]:
    try:
        value = _JSON.decode(line.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise DataError(f"{place}: byte {error.start + 1} is not UTF-8") from error
    except json.JSONDecodeError as error:
        raise DataError(f"{place}: broken JSON at column {error.colno}: {error.msg.removesuffix(' at')}") from error
    except RecursionError as error:
        raise DataError(f"{place}: {_TOO_DEEP}") from error
    if not isinstance(value, dict):
        raise DataError(f"{place}: each line must be a JSON object, not {type(value).__name__}")
    return value


def _whole_number(digits: str) -> int | float:
    """Python refuses to read numbers of thousands of digits, also where nobody asks for them; those become infinite."""
    return int(digits) if len(digits) < _MOST_DIGITS else float(digits)


_MOST_DIGITS = 300
_JSON = json.JSONDecoder(parse_int=_whole_number)


def _refuse_lone_surrogates(values: dict[str, Any], place: str) -> None:
    # JSON lets them pass, but no file, hash or tokenizer can take them.
    try:
        json.dumps(values, ensure_ascii=False, default=str).encode()
    except RecursionError as error:
        raise DataError(f"{place}: {_TOO_DEEP}") from error
    except UnicodeEncodeError as error:
        half = f"\\u{ord(error.object[error.start]):04x}"
        raise DataError(
            f"{place}: a text holds half of a character ({half} without its other half), probably cut in the middle "
            "of an emoji; remove it"
        ) from error


def _read_parquet(path: Path, source: DataSource) -> Iterator[Row]:
    try:
        names = pq.read_schema(path).names
        wanted = _read_of(names, source)
        table = pq.read_table(path, columns=wanted).slice(0, source.limit)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} is not a readable parquet file: {error}") from error
    columns = [_column(path, name, table[name]) for name in wanted]
    unread = tuple(name for name in names if name not in wanted)
    for number in range(1, len(table) + 1):
        yield Row(
            f"{path}, row {number}",
            {name: column[number - 1] for name, column in zip(wanted, columns, strict=True)},
            unread,
        )


def _column(path: Path, name: str, column: pa.ChunkedArray) -> list[Any]:
    """A column's values; bad text and dates that Python does not have are found only here."""
    try:
        return column.to_pylist()  # type: ignore[no-any-return]
    except (pa.ArrowException, ValueError, OverflowError) as error:
        raise DataError(f"{path}, {_first_bad(column)}: the column {name!r} cannot be read: {error}") from error


def _first_bad(column: pa.ChunkedArray) -> str:
    for number, value in enumerate(column, 1):
        try:
            value.as_py()
        except (pa.ArrowException, ValueError, OverflowError):
            return f"row {number}"
    return "some row"


def _read_of(names: Sequence[str], source: DataSource) -> list[str]:
    """The columns that are wanted, of those that are there."""
    if not source.fields_of_a_row:
        return list(names)
    read = set(source.wanted.values())
    return [name for name in names if name in read]


def _read_hub(source: DataSource) -> Iterator[Row]:
    import datasets  # here, because it takes a second to import and files do not need it

    try:
        rows = _load_hub(datasets, source)
        names = list(rows.column_names)
        wanted = _read_of(names, source)
        rows = rows.select_columns(wanted)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        raise DataError(
            f"the dataset {source.path!r} cannot be loaded from the hub ({first_line(error)}); "
            "check name, `hub_subset`, `hub_split` and the network, or give a file"
        ) from error
    unread = tuple(name for name in names if name not in wanted)
    return (
        Row(f"{source.path}[{source.hub_split}], row {number}", values, unread) for number, values in enumerate(rows, 1)
    )


def _load_hub(datasets: Any, source: DataSource) -> Any:
    try:
        return datasets.load_dataset(source.path, source.hub_subset, split=source.hub_split, revision=source.revision)
    except ValueError:
        if source.hub_subset is None:
            raise
        # hh-rlhf and others have no named configurations: their subsets are folders
        return datasets.load_dataset(
            source.path, data_dir=source.hub_subset, split=source.hub_split, revision=source.revision
        )
