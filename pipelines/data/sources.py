"""Rows of a data source: .jsonl, .jsonl.gz and .parquet files, and datasets on the Hugging Face hub.

Every row carries the place where it stands, so that an error can name file and line.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from allgood.errors import DataError
from pipelines.config.data import DataSource

_FILE_ENDINGS = (".jsonl", ".jsonl.gz", ".parquet")
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")  # pairs are right, and looked at only because one may be alone


@dataclass(frozen=True)
class Row:
    """One row as read. `place` is for messages: "pairs.jsonl, line 7"."""

    place: str
    values: dict[str, Any]


def read_rows(source: DataSource) -> list[Row]:
    """All rows of a source, at most `source.limit`.

    Raises:
        DataError: The source is missing, empty or unreadable; names the line where there is one.
    """
    path = Path(source.path)
    reader = _file_reader(path) if _is_file(source) else _read_hub(source)
    rows = list(islice(reader, source.limit))
    if not rows:
        raise DataError(f"{source.path} has no rows")
    return rows


def source_identity(source: DataSource) -> dict[str, str | None]:
    """What makes two readings of a source the same: a file's content; a hub dataset's name, subset and split."""
    if not _is_file(source):
        return {"hub": source.path, "subset": source.hub_subset, "split": source.hub_split}
    return {"sha256": file_sha256(Path(source.path))}


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    _check_exists(path)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_file(source: DataSource) -> bool:
    path = Path(source.path)
    return source.path.endswith(_FILE_ENDINGS) or path.is_absolute() or source.path.startswith(".") or path.exists()


def _check_exists(path: Path) -> None:
    if path.is_dir():
        raise DataError(
            f"{path} is a folder; give one of its files ({', '.join(_FILE_ENDINGS)}) or a dataset on the hub"
        )
    if not path.is_file():
        raise DataError(f"there is no data file {path}; check the path, or give the name of a dataset on the hub")
    if path.stat().st_size == 0:
        raise DataError(f"the data file {path} is empty")


def _file_reader(path: Path) -> Iterator[Row]:
    _check_exists(path)
    if path.name.endswith((".jsonl", ".jsonl.gz")):
        return _read_jsonl(path)
    if path.name.endswith(".parquet"):
        return _read_parquet(path)
    raise DataError(f"{path} has an unknown ending; data files are {', '.join(_FILE_ENDINGS)}")


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
        value = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise DataError(f"{place}: byte {error.start + 1} is not UTF-8") from error
    except json.JSONDecodeError as error:
        raise DataError(f"{place}: broken JSON at column {error.colno}: {error.msg.removesuffix(' at')}") from error
    if not isinstance(value, dict):
        raise DataError(f"{place}: each line must be a JSON object, not {type(value).__name__}")
    if _SURROGATE.search(line):
        _refuse_lone_surrogates(value, place)
    return value


def _refuse_lone_surrogates(value: dict[str, Any], place: str) -> None:
    # JSON lets them pass, but no file, hash or tokenizer can take them.
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        half = f"\\u{ord(error.object[error.start]):04x}"
        raise DataError(
            f"{place}: a text holds half of a character ({half} without its other half), probably cut in the middle "
            "of an emoji; remove it"
        ) from error


def _read_parquet(path: Path) -> Iterator[Row]:
    try:
        rows = pq.read_table(path).to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} is not a readable parquet file: {error}") from error
    return (Row(f"{path}, row {number}", values) for number, values in enumerate(rows, 1))


def _read_hub(source: DataSource) -> Iterator[Row]:
    import datasets  # here, because it takes a second to import and files do not need it

    try:
        rows = _load_hub(datasets, source)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DataError(
            f"the dataset {source.path!r} cannot be loaded from the hub ({first_line}); "
            "check name, `hub_subset`, `hub_split` and the network, or give a file"
        ) from error
    return (Row(f"{source.path}[{source.hub_split}], row {number}", values) for number, values in enumerate(rows, 1))


def _load_hub(datasets: Any, source: DataSource) -> Iterable[dict[str, Any]]:
    try:
        return datasets.load_dataset(source.path, source.hub_subset, split=source.hub_split)  # type: ignore[no-any-return]
    except ValueError:
        if source.hub_subset is None:
            raise
        # hh-rlhf and others have no named configurations: their subsets are folders
        return datasets.load_dataset(source.path, data_dir=source.hub_subset, split=source.hub_split)  # type: ignore[no-any-return]
