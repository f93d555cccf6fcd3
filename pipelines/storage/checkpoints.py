"""Committed checkpoints on a store: the files first, `manifest.json` last. Without it a checkpoint does not exist.

`checkpoints/step_000050.3/` is the checkpoint after 50 updates, written under lease 3. A driver that has lost its lease
without knowing it, and is late with a file, overwrites nothing of the one that took the run over.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.output.checkpoint_folders import MANIFEST
from pipelines.output.file_entries import Files
from pipelines.output.files import atomic_path
from pipelines.storage.files import DamagedError, fetch, read_manifest, write_manifest
from pipelines.storage.logs import FOLDER as LOGS
from pipelines.storage.logs import Logs, segment_names
from pipelines.storage.place import Place

FOLDER = "checkpoints"
LEARNER = "learner"  # the part of a checkpoint that learners write


@dataclass(frozen=True, order=True)
class StoredCheckpoint:
    """A checkpoint whose manifest is there. Its files are verified when they are fetched."""

    step: int
    lease: int

    @property
    def name(self) -> str:
        """Its folder."""
        return f"{FOLDER}/step_{self.step:06d}.{self.lease}"


def write_files(place: Place, folder: Path, stored: StoredCheckpoint, there: Files | None = None) -> None:
    """Write the files of the checkpoint that is committed in `folder`; on the store it does not exist yet.

    `there` are those that learners have just written.
    """
    for name, entry in local_manifest(folder)["files"].items():
        if there is None or there.get(name) != entry:
            place.at(stored.name).upload(folder / name, name)


def commit(place: Place, folder: Path, stored: StoredCheckpoint, logs: Logs) -> None:
    """Have a checkpoint exist whose files are written, with the logs up to it."""
    write_manifest(place.at(stored.name), MANIFEST, {**local_manifest(folder), "logs": logs})


def local_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a checkpoint that is committed here."""
    manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    return manifest


def stored_checkpoints(place: Place) -> list[StoredCheckpoint]:
    """What is committed, oldest first."""
    found = [_parsed(name) for name in place.at(FOLDER).names() if name.endswith(f"/{MANIFEST}")]
    return sorted(checkpoint for checkpoint in found if checkpoint is not None)


def manifest_of(place: Place, stored: StoredCheckpoint) -> dict[str, Any]:
    """The files of a checkpoint with their sizes and checksums, and the `logs` up to it.

    Raises:
        DamagedError: The manifest is damaged, or was deleted meanwhile.
    """
    manifest = read_manifest(place.at(stored.name), MANIFEST)
    if manifest is None:
        raise DamagedError(f"{place.url}/{stored.name}/{MANIFEST} is missing")
    return manifest


def fetch_checkpoint(place: Place, stored: StoredCheckpoint, target: Path) -> None:
    """Bring a checkpoint into the folder `target`, all of it or nothing.

    Raises:
        DamagedError: A file is missing or damaged; names it.
    """
    manifest = manifest_of(place, stored)
    with atomic_path(target) as temporary:
        temporary.mkdir()
        for name, entry in manifest["files"].items():
            fetch(place.at(stored.name), name, entry, temporary / name)
        (temporary / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


def prune(place: Place, kept: Collection[StoredCheckpoint]) -> None:
    """Delete all other checkpoints, what killed drivers left of theirs, and logs that none of `kept` lists."""
    names = place.at(FOLDER).names()
    unwanted = [name for name in names if _parsed(name) not in kept]
    # Manifests first: half a deletion must not leave half a checkpoint.
    unwanted.sort(key=lambda name: not name.endswith(f"/{MANIFEST}"))
    place.at(FOLDER).delete(unwanted)
    listed = segment_names([_logs_of(place, stored) for stored in kept])
    place.delete(_unlisted(place, listed))


def _logs_of(place: Place, stored: StoredCheckpoint) -> Logs:
    try:
        logs: Logs = manifest_of(place, stored)["logs"]
    except DamagedError:  # nobody can go on from it, so its logs are of no use
        return {}
    return logs


def _unlisted(place: Place, listed: set[str]) -> list[str]:
    return [name for name in (f"{LOGS}/{name}" for name in place.at(LOGS).names()) if name not in listed]


def _parsed(name: str) -> StoredCheckpoint | None:
    match = re.match(r"step_(\d{6,})\.(\d+)/", name)
    return StoredCheckpoint(int(match[1]), int(match[2])) if match else None
