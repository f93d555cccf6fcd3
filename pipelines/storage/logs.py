"""The logs of a run as segments: objects that are written once, each with the rows between two checkpoints.

An object store has no append. The manifest of a checkpoint lists the segments of its logs, so that they belong to it:
rows that a resumed run writes again stand in new segments, and those of the steps that it took the place of are listed
by nobody. A segment is called after its steps and its content, `metrics-000003-000004-5f1d0c9a3b77.jsonl`.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.output.files import atomic_path
from pipelines.run.folder import RunFolder
from pipelines.storage.files import fetch
from pipelines.storage.place import Place

FOLDER = "logs"


class Segment(TypedDict):
    """Where a segment lies, and what it holds: rows of steps after `after`, up to `step`."""

    name: str
    size: int
    sha256: str
    after: int
    step: int


Logs = dict[str, list[Segment]]


@dataclass(frozen=True)
class _Rows:
    """The rows of one log in one segment."""

    log: str
    ending: str
    content: bytes


def keep_logs(place: Place, folder: RunFolder, logs: Logs, *, step: int) -> Logs:
    """Write what the logs of a run hold beyond `logs`, up to `step`; returns those with the new segments."""
    after = last_step(logs)
    kept = {log: list(segments) for log, segments in logs.items()}
    for rows in (
        _Rows("metrics", "jsonl", _steps(folder.metrics, after, step)),
        _Rows("groups", "jsonl", _steps(folder.groups, after, step)),
        _Rows("samples", "parquet", _samples(folder.samples, after, step)),
        _Rows("faults", "jsonl", _faults(folder.faults, sum(part["size"] for part in logs.get("faults", [])))),
    ):
        if rows.content:
            kept.setdefault(rows.log, []).append(_written(place, rows, after, step))
    return kept


def fetch_logs(place: Place, folder: RunFolder, logs: Logs) -> None:
    """Put the logs of a run together again, in the place of those that are there.

    Raises:
        DamagedError: A segment is missing or damaged; names it.
    """
    paths = {"metrics": folder.metrics, "groups": folder.groups, "samples": folder.samples, "faults": folder.faults}
    for log, path in paths.items():
        segments = logs.get(log, [])
        if not segments:
            path.unlink(missing_ok=True)
            continue
        with atomic_path(path) as temporary:
            parts = [_part(place, segment, temporary.parent) for segment in segments]
            if path.suffix == ".parquet":
                tables = [pq.read_table(io.BytesIO(part)) for part in parts]
                pq.write_table(pa.concat_tables(tables, promote_options="permissive"), temporary)
            else:
                temporary.write_bytes(b"".join(parts))


def last_step(logs: Logs) -> int:
    """The step up to which the logs are kept; 0 before the first."""
    return max((segment["step"] for segments in logs.values() for segment in segments), default=0)


def segment_names(logs: Sequence[Logs]) -> set[str]:
    """Names of all segments in several logs."""
    return {segment["name"] for one in logs for segments in one.values() for segment in segments}


def _written(place: Place, rows: _Rows, after: int, step: int) -> Segment:
    digest = hashlib.sha256(rows.content).hexdigest()
    name = f"{FOLDER}/{rows.log}-{after + 1:06d}-{step:06d}-{digest[:12]}.{rows.ending}"
    place.write(name, rows.content)
    return {"name": name, "size": len(rows.content), "sha256": digest, "after": after, "step": step}


def _part(place: Place, segment: Segment, folder: Path) -> bytes:
    path = folder / f".{Path(segment['name']).name}"
    try:
        fetch(place, segment["name"], {"size": segment["size"], "sha256": segment["sha256"]}, path)
        return path.read_bytes()
    finally:
        path.unlink(missing_ok=True)


def _steps(path: Path, after: int, step: int) -> bytes:
    """Whole lines of steps in (after, step]."""
    lines = _whole_lines(path, 0).splitlines(keepends=True)
    return b"".join(line for line in lines if after < json.loads(line)["step"] <= step)


def _samples(path: Path, after: int, step: int) -> bytes:
    if not path.is_file():
        return b""
    table = pq.read_table(path)
    is_new = pa.compute.and_(pa.compute.greater(table["step"], after), pa.compute.less_equal(table["step"], step))
    rows = table.filter(is_new)
    if not len(rows):
        return b""
    buffer = io.BytesIO()
    pq.write_table(rows, buffer)
    return buffer.getvalue()


def _faults(path: Path, num_kept: int) -> bytes:
    """Rows have no step, and are never cut: what was written since."""
    return _whole_lines(path, num_kept)


def _whole_lines(path: Path, start: int) -> bytes:
    if not path.is_file():
        return b""
    content = path.read_bytes()[start:]
    return content[: content.rfind(b"\n") + 1]
