"""Files of a copy: each with its size and sha256 in a manifest, which is written after them and read before them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from allgood.errors import StorageError
from pipelines.output.file_entries import FileEntry, damage
from pipelines.output.files import atomic_path
from pipelines.storage.place import Place


class DamagedError(StorageError):
    """What lies on a store is not what was written there; an earlier version of it may be whole."""


def fetch(place: Place, name: str, entry: FileEntry, target: Path) -> None:
    """Bring an object here, verified: `target` has this content afterwards, or is as it was.

    Raises:
        DamagedError: The object is missing or damaged; names it.
    """
    with atomic_path(target) as temporary:
        found = damage(temporary, entry) if place.download(name, temporary) else "is missing"
        if found is not None:
            raise DamagedError(f"{place.url}/{name} {found}")


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
