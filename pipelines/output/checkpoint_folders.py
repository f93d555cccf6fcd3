"""Folders of checkpoints, whatever these hold: `step_000050/`, each sealed by a manifest, the latest found by looking.

`manifest.json` has size and sha256 of every file and is written last. A checkpoint is written under a temporary name,
flushed and renamed (`atomic_path`), so a kill at any moment leaves a whole one or none; what happened to its files
later, a flipped bit or a lost file, is found before it is used.
"""

from __future__ import annotations

import json
import re
import shutil
import uuid
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, TypeVar

from allgood.errors import CheckpointError
from pipelines.output.file_entries import Files, damage, entries_of

T = TypeVar("T")

SCHEMA = 1
STATE, MANIFEST = "state.json", "manifest.json"


def step_folder(checkpoints: Path, step: int) -> Path:
    """Where the checkpoint after `step` updates lies."""
    return checkpoints / f"step_{step:06d}"


def committed_steps(checkpoints: Path) -> list[int]:
    """Steps of all checkpoints there, oldest first, verified or not."""
    found = [re.fullmatch(r"step_(\d{6,})", path.name) for path in checkpoints.glob("step_*")]
    return sorted(int(match.group(1)) for match in found if match)


def seal(folder: Path, state: dict[str, Any]) -> None:
    """Write `state` and then the manifest of all files in `folder`, which holds everything else already."""
    content = {"schema": SCHEMA, **state}
    (folder / STATE).write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    manifest = {"schema": SCHEMA, "files": entries_of(folder)}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


def unsealed(folder: Path) -> dict[str, Any]:
    """Verify every file of a checkpoint; the state that it was sealed with.

    Raises:
        CheckpointError: A file is missing or damaged; names it.
    """
    for name, expected in _manifest_files(folder / MANIFEST).items():
        path = folder / name
        found = damage(path, expected)
        if found is not None:
            raise CheckpointError(f"{path} {found}, so this checkpoint cannot be used")
    return _read_json(folder / STATE)


def latest_whole(checkpoints: Path, load: Callable[[Path], T], say: Callable[[str], None]) -> T | None:
    """What `load` makes of the last checkpoint that it does not refuse; None if it refuses all, or there is none.

    What a `CheckpointError` of `load` names is told to `say`.
    """
    steps = committed_steps(checkpoints)
    for step in reversed(steps):
        try:
            return load(step_folder(checkpoints, step))
        except CheckpointError as error:
            say(f"{error}; trying the checkpoint before it" if step != steps[0] else str(error))
    return None


def delete_all_but(checkpoints: Path, kept: Collection[int]) -> None:
    """Delete the checkpoints of all steps but `kept`, and what killed writers left behind."""
    for step in committed_steps(checkpoints):
        if step not in kept:
            # Renamed first: a kill in the middle of the deletion must not leave half a checkpoint under its name.
            step_folder(checkpoints, step).rename(checkpoints / f".step_{step:06d}.tmp-{uuid.uuid4().hex[:8]}")
    for stale in checkpoints.glob(".step_*.tmp-*"):
        shutil.rmtree(stale, ignore_errors=True)


def _manifest_files(path: Path) -> Files:
    files: Files | None = _read_json(path).get("files")
    if (
        not isinstance(files, dict)
        or STATE not in files
        or any({"size", "sha256"} - set(entry) for entry in files.values())
    ):
        raise CheckpointError(f"{path} is damaged (it lists no files), so this checkpoint cannot be used")
    return files


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing, so this checkpoint cannot be used") from None
    except ValueError as error:
        raise CheckpointError(f"{path} is damaged ({error}), so this checkpoint cannot be used") from None
    return content
