"""What a manifest says of a file, its size and sha256, and whether the file is still the one that was written."""

from __future__ import annotations

from pathlib import Path
from typing import TypedDict

from pipelines.output.hashes import sha256_of


class FileEntry(TypedDict):
    """Of one file; `size` in bytes."""

    size: int
    sha256: str


Files = dict[str, FileEntry]
"""By names relative to the folder of the manifest."""


def entry_of(path: Path) -> FileEntry:
    """What a manifest says of the file that is there now."""
    return {"size": path.stat().st_size, "sha256": sha256_of(path)}


def entries_of(folder: Path) -> Files:
    """What a manifest says of all files below a folder, in order."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): entry_of(path) for path in files}


def damage(path: Path, entry: FileEntry) -> str | None:
    """What is wrong with a file, to follow its name in a sentence; None where it is as `entry` says."""
    if not path.is_file():
        return "is missing"
    size = path.stat().st_size
    if size != entry["size"]:
        return f"has {size} bytes instead of {entry['size']}"
    if sha256_of(path) != entry["sha256"]:
        return "is damaged (its checksum differs)"
    return None
