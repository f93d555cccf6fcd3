"""Content of a run folder as sha256 per piece: what a change of the house must leave as it is.

Wall-clock fields and paths do not count. A table is hashed column by column, so that a renamed column is seen as such.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from safetensors import safe_open

# Fields that time, place or the files' own hashes decide; `made_by` is the version of allgood, `ops.` what went wrong.
_NOT_CONTENT = re.compile(r"second|_s$|time|folder|path|^model$|^files$|sha256|version|made_by|^git|per_hour|^ops\.")

_NOT_RESULTS = frozenset({"checkpoints", "tune", "faults.jsonl"})  # `tune` is Ray Tune's own state


def folder_hashes(folder: Path) -> dict[str, str]:
    """Piece of content to its hash, for everything below `folder` that is a result."""
    return dict(sorted(_pieces(folder)))


def _pieces(folder: Path) -> Iterator[tuple[str, str]]:
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if not path.is_file() or any(part in _NOT_RESULTS or part.startswith(".") for part in path.parts):
            continue
        if path.suffix == ".safetensors":
            yield name, _weights(path)
        elif path.suffix == ".parquet":
            yield from ((f"{name}:{column}", digest) for column, digest in _columns(path).items())
        elif path.suffix == ".jsonl":
            yield from _rows(name, path, folder)
        elif path.suffix == ".json":
            yield from ((f"{name}:{key}", digest) for key, digest in _fields(path, folder).items())


def _weights(path: Path) -> str:
    digest = hashlib.sha256()
    with safe_open(path, "pt") as tensors:
        for name in sorted(tensors.keys()):
            tensor = tensors.get_tensor(name)
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.contiguous().view(-1).numpy().tobytes())
    return digest.hexdigest()[:16]


def _columns(path: Path) -> dict[str, str]:
    table = pq.read_table(path)
    return {
        name: _digest([_plain(value) for value in table[name].to_pylist()])
        for name in table.column_names
        if not _NOT_CONTENT.search(name)
    }


def _rows(name: str, path: Path, folder: Path) -> Iterator[tuple[str, str]]:
    columns: dict[str, list[Any]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        for key, value in _known(json.loads(line), folder).items():
            columns.setdefault(key, []).append(value)
    yield from ((f"{name}:{key}", _digest(values)) for key, values in columns.items())


def _fields(path: Path, folder: Path) -> dict[str, str]:
    content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        return {"": _digest(_without(content, folder))}
    return {key: _digest(value) for key, value in _known(content, folder).items()}


def _known(content: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    return {key: _without(value, folder) for key, value in content.items() if not _NOT_CONTENT.search(key)}


def _without(value: Any, folder: Path) -> Any:
    """A value without wall-clock fields and without the folder that it was made in."""
    if isinstance(value, dict):
        return _known(value, folder)
    if isinstance(value, list):
        return [_without(item, folder) for item in value]
    return value.replace(str(folder.parent), "") if isinstance(value, str) else value


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else value


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]
