"""Files under their checksum in `objects/` of a storage, once for all runs there."""

from __future__ import annotations

from pathlib import Path

from pipelines.output.file_entries import FileEntry
from pipelines.storage.files import fetch
from pipelines.storage.place import Place

OBJECTS = "objects"


def keep_object(storage: Place, path: Path, entry: FileEntry) -> None:
    """Write a file, unless it is there already."""
    if storage.size(_name(entry)) != entry["size"]:
        storage.upload(path, _name(entry))


def fetch_object(storage: Place, entry: FileEntry, target: Path) -> None:
    """Bring a file here, verified.

    Raises:
        DamagedError: It is missing or damaged; names it.
    """
    fetch(storage, _name(entry), entry, target)


def _name(entry: FileEntry) -> str:
    return f"{OBJECTS}/{entry['sha256'][:2]}/{entry['sha256']}"
