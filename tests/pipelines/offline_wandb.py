"""What an offline W&B run holds, read from its `.wandb` file: a LevelDB log of protobuf records."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wandb.proto import wandb_internal_pb2

_FILE_HEADER, _BLOCK, _CHUNK_HEADER = 7, 32_768, 7
_WAIT_S = 20.0
_WHOLE, _LAST = 1, 4  # kinds of chunks that end a record


@dataclass
class OfflineRun:
    """`history` has one dict per logged step, with its step under "_step"."""

    path: Path
    name: str = ""
    group: str = ""
    job_type: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    is_finished: bool = False


def offline_runs(folder: Path) -> list[OfflineRun]:
    """All finished offline runs anywhere below `folder`, by path, hence oldest first for one stage."""
    return [finished_run(path) for path in sorted(folder.rglob("run-*.wandb"))]


def finished_run(path: Path) -> OfflineRun:
    """The run in a `.wandb` file. W&B's own process writes it, and may end a moment after the tracker has finished."""
    deadline = time.monotonic() + _WAIT_S
    while not (run := read_run(path)).is_finished:
        assert time.monotonic() < deadline, f"{path} has no end after {_WAIT_S} s"
        time.sleep(0.05)
    return run


def read_run(path: Path) -> OfflineRun:
    """What a `.wandb` file holds now."""
    run = OfflineRun(path)
    for content in _records(path.read_bytes()):
        record = wandb_internal_pb2.Record.FromString(content)
        if record.HasField("run"):
            run.name, run.group, run.job_type = record.run.display_name, record.run.run_group, record.run.job_type
            run.settings |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
        elif record.HasField("history"):
            run.history.append({_key(item): json.loads(item.value_json) for item in record.history.item})
        elif record.HasField("summary"):
            run.summary |= {_key(item): json.loads(item.value_json) for item in record.summary.update}
        elif record.HasField("exit"):
            run.is_finished = True
    return run


def _key(item: Any) -> str:
    return item.key or ".".join(item.nested_key)


def _records(content: bytes) -> Iterator[bytes]:
    position, record = _FILE_HEADER, b""
    while position + _CHUNK_HEADER <= len(content):
        left = _BLOCK - position % _BLOCK
        if left < _CHUNK_HEADER:  # the rest of a block that holds no header is padding
            position += left
            continue
        size = int.from_bytes(content[position + 4 : position + 6], "little")
        kind = content[position + 6]
        position += _CHUNK_HEADER
        record += content[position : position + size]
        position += size
        if kind in (_WHOLE, _LAST):
            yield record
            record = b""
