"""Files of a copy: each with its size and sha256 in a manifest, which is written after them and read before them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any, TypedDict

from allgood.errors import StorageError
from pipelines.output.files import atomic_path
from pipelines.output.hashes import sha256_of
from pipelines.storage.place import Place


class DamagedError(StorageError):
    """What lies on a store is not what was written there; an earlier version of it may be whole."""


class FileEntry(TypedDict):
    """What a manifest says of a file."""

    size: int
    sha256: str


Files = dict[str, FileEntry]


def entry_of(path: Path) -> FileEntry:
    """Size in bytes and checksum of a file."""
    return {"size": path.stat().st_size, "sha256": sha256_of(path)}


def is_same(path: Path, entry: FileEntry) -> bool:
    """Whether a file is there with this content."""
    return path.is_file() and path.stat().st_size == entry["size"] and sha256_of(path) == entry["sha256"]


def fetch(place: Place, name: str, entry: FileEntry, target: Path) -> None:
    """Bring an object here, verified: `target` has this content afterwards, or is as it was.

    Raises:
        DamagedError: The object is missing or damaged; names it.
    """
    with atomic_path(target) as temporary:
        if not place.download(name, temporary):
            raise DamagedError(f"{place.url}/{name} is missing")
        size = temporary.stat().st_size
        if size != entry["size"]:
            raise DamagedError(f"{place.url}/{name} has {size} bytes instead of {entry['size']}")
        if sha256_of(temporary) != entry["sha256"]:
            raise DamagedError(f"{place.url}/{name} is damaged (its checksum differs)")


def write_manifest(place: Place, name: str, content: Mapping[str, Any]) -> None:
    """Write a manifest: what it lists exists from then on."""
    place.write(name, (json.dumps(content, indent=2, allow_nan=False) + "\n").encode())


def read_manifest(place: Place, name: str) -> dict[str, Any] | None:
    """The content of a manifest, or None where there is none.

    Raises:
        DamagedError: It is damaged, or names files outside its folder.
    """
    raw = place.read(name)
    if raw is None:
        return None
    try:
        content: dict[str, Any] = json.loads(raw)
        for file, entry in content["files"].items():
            _refuse_outside(file)
            int(entry["size"]), str(entry["sha256"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedError(f"{place.url}/{name} is damaged ({type(error).__name__}: {error})") from error
    return content


def _refuse_outside(name: str) -> None:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise ValueError(f"{name!r} lies outside its folder")
