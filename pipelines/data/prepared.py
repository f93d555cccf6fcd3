"""Prepared data: prompts, preference pairs and demonstrations with their splits, as parquet with a manifest."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar, get_args

import pyarrow as pa
import pyarrow.parquet as pq

from allgood.errors import DataError
from pipelines.config.rl import Split as Split  # known as part of the prepared data; the run file names splits too
from pipelines.output.files import atomic_path

SPLITS: tuple[Split, ...] = get_args(Split)

Report = dict[str, Any]
"""Counts for the user, ready for JSON."""

_TEXT, _SPLIT = pa.string(), pa.dictionary(pa.int8(), pa.string())
_SCHEMAS = {
    "prompts": pa.schema([("id", _TEXT), ("text", _TEXT), ("split", _SPLIT), ("source", _TEXT)]),
    "pairs": pa.schema(
        [
            ("prompt_id", _TEXT),
            ("prompt", _TEXT),
            ("chosen", _TEXT),
            ("rejected", _TEXT),
            ("margin", pa.float64()),
            ("split", _SPLIT),
        ]
    ),
    "demonstrations": pa.schema([("prompt_id", _TEXT), ("prompt", _TEXT), ("response", _TEXT), ("split", _SPLIT)]),
}


@dataclass(frozen=True)
class Prompt:
    """A prompt to align on. `source` names the pairs that it comes from, joined by "+"."""

    id: str
    text: str
    split: Split
    source: str


@dataclass(frozen=True)
class Pair:
    """Two responses to one prompt, the first preferred; `margin` says by how much, in logits, where the data say so."""

    prompt_id: str
    prompt: str
    chosen: str
    rejected: str
    margin: float | None
    split: Split


@dataclass(frozen=True)
class Demonstration:
    """A response to imitate."""

    prompt_id: str
    prompt: str
    response: str
    split: Split


@dataclass(frozen=True)
class PreparedData:
    """All text of a run, and the counts of what was read, dropped, repeated and shared."""

    prompts: list[Prompt]
    pairs: dict[str, list[Pair]]
    demonstrations: list[Demonstration]
    report: Report


def save_prepared(data: PreparedData, folder: Path, *, key: str) -> None:
    """Write `folder`, all or nothing. `key` identifies the sources and settings that the data come from."""
    with atomic_path(folder) as temporary:
        temporary.mkdir()
        _write(temporary / "prompts.parquet", data.prompts, _SCHEMAS["prompts"])
        _write(temporary / "demonstrations.parquet", data.demonstrations, _SCHEMAS["demonstrations"])
        for name, pairs in data.pairs.items():
            _write(temporary / f"pairs.{name}.parquet", pairs, _SCHEMAS["pairs"])
        manifest = {"key": key, "pairs": list(data.pairs), "report": data.report}
        (temporary / "manifest.json").write_text(
            json.dumps(manifest, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8"
        )


def load_prepared(folder: Path) -> PreparedData:
    """What `save_prepared` wrote.

    Raises:
        DataError: There is no prepared data in `folder`, or it is damaged.
    """
    manifest = _manifest(folder)
    if manifest is None:
        raise DataError(f"there is no prepared data in {folder}; run `allgood data` with its configuration first")
    try:
        return PreparedData(
            prompts=_read(folder / "prompts.parquet", Prompt),
            pairs={name: _read(folder / f"pairs.{name}.parquet", Pair) for name in manifest["pairs"]},
            demonstrations=_read(folder / "demonstrations.parquet", Demonstration),
            report=manifest["report"],
        )
    except (OSError, pa.ArrowException, KeyError, TypeError) as error:
        raise DataError(
            f"the prepared data in {folder} are damaged ({error}); delete that folder and prepare again"
        ) from error


def prepared_key(folder: Path) -> str | None:
    """The key of the data in `folder`; None where there are none."""
    manifest = _manifest(folder)
    return None if manifest is None else manifest.get("key")


def _manifest(folder: Path) -> dict[str, Any] | None:
    path = folder / "manifest.json"
    if not path.is_file():
        return None
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path} is damaged ({error}); delete {folder} and prepare again") from error
    return manifest


Record = TypeVar("Record", Prompt, Pair, Demonstration)


def _write(path: Path, rows: Sequence[Prompt | Pair | Demonstration], schema: pa.Schema) -> None:
    columns = {name: [getattr(row, name) for row in rows] for name in schema.names}
    pq.write_table(pa.Table.from_pydict(columns, schema=schema), path)


def _read(path: Path, kind: type[Record]) -> list[Record]:
    columns = pq.read_table(path).to_pydict()
    return [kind(*values) for values in zip(*(columns[field.name] for field in fields(kind)), strict=True)]
