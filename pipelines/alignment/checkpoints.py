"""Checkpoints of an alignment run: all or nothing, verified before they are used.

`checkpoints/step_000050/` holds the learner's files (weights, optimiser, scheduler, value head, random state, as
safetensors and JSON), `ahead/` with experience of later steps that was there already (`stored_experience.py`),
`state.json` (the loop's state, the hashes of config and reference table) and `manifest.json`
with size and sha256 of every file, written last. The folder is written under a temporary name, flushed and renamed, so
a kill at any moment leaves a whole checkpoint or none. The latest is found by looking, not by a pointer that could lie.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from allgood.errors import CheckpointError
from pipelines.alignment.ahead import StoredSteps
from pipelines.alignment.loop import Best, State
from pipelines.alignment.stored_experience import read_steps, write_steps
from pipelines.cast.processes import Kinds
from pipelines.config.earlier import first_form
from pipelines.config.placement import PlacementConfig
from pipelines.config.run import RunConfig
from pipelines.output.files import atomic_path
from pipelines.output.hashes import sha256_of

CONFIG_HASH = "config"
TABLE_HASH = "reference table"  # among the hashes that tie a checkpoint to its run
# Sections that may change between start and resume, as may `placement` of each property. Only at these places:
# `kl.placement` decides the result, and a property may be called "preview".
_NOT_THE_RESULT = frozenset({"name", "output_dir", "tracking", "placement", "preview"})

SCHEMA = 1
STATE, MANIFEST, LEARNER, AHEAD = "state.json", "manifest.json", "learner", "ahead"


@dataclass(frozen=True)
class Checkpoint:
    """A verified checkpoint on disk.

    `hashes` say which config and reference table it belongs to, `processes` what it was computed with, by role (none
    where an earlier version wrote it).
    """

    folder: Path
    state: State
    hashes: dict[str, str]
    processes: Kinds = field(default_factory=dict)

    @property
    def learner(self) -> Path:
        """The learner's own files."""
        return self.folder / LEARNER


def step_folder(checkpoints: Path, step: int) -> Path:
    """Where the checkpoint after `step` updates lies."""
    return checkpoints / f"step_{step:06d}"


async def commit(
    checkpoints: Path,
    state: State,
    hashes: dict[str, str],
    save_learner: Callable[[Path], Awaitable[None]],
    ahead: StoredSteps = MappingProxyType({}),
    *,
    processes: Kinds,
) -> Path:
    """Write the checkpoint of `state`; `save_learner` fills the folder that it is given. Returns the final folder.

    `ahead` is the experience of later steps, made by older versions of which no weights are left.
    """
    final = step_folder(checkpoints, state.step)
    with atomic_path(final) as temporary:
        (temporary / LEARNER).mkdir(parents=True)
        await save_learner((temporary / LEARNER).absolute())
        write_steps(temporary / AHEAD, ahead)
        content = {"schema": SCHEMA, "state": asdict(state), "hashes": hashes, "processes": processes}
        (temporary / STATE).write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")
        manifest = {"schema": SCHEMA, "files": _checksums(temporary)}
        (temporary / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    return final


def prune(checkpoints: Path, state: State, *, keep: int) -> None:
    """Delete all but the last `keep` checkpoints and the best one, and what killed writers left behind.

    Checkpoints beyond `state` are damaged ones that were passed over: they would be kept in the place of whole ones.
    """
    steps = [step for step in _steps(checkpoints) if step <= state.step]
    kept = set(steps[-keep:]) | ({state.best.step} if state.best is not None else set())
    for step in _steps(checkpoints):
        if step not in kept:
            # Renamed first: a kill in the middle of the deletion must not leave half a checkpoint under its name.
            step_folder(checkpoints, step).rename(checkpoints / f".step_{step:06d}.tmp-{uuid.uuid4().hex[:8]}")
    for stale in checkpoints.glob(".step_*.tmp-*"):
        shutil.rmtree(stale, ignore_errors=True)


def latest(checkpoints: Path, say: Callable[[str], None]) -> Checkpoint | None:
    """The last whole checkpoint, or None if none was ever committed. Damaged ones are named by `say` and passed over.

    Raises:
        CheckpointError: Checkpoints exist, and every one of them is damaged.
    """
    steps = _steps(checkpoints)
    for step in reversed(steps):
        try:
            return load(step_folder(checkpoints, step))
        except CheckpointError as error:
            say(f"{error}; trying the checkpoint before it")
    if steps:
        raise CheckpointError(f"every checkpoint in {checkpoints} is damaged; start the run again with --overwrite")
    return None


def newest(checkpoints: Path) -> Path | None:
    """The folder of the last committed checkpoint, not verified; None if there is none."""
    steps = _steps(checkpoints)
    return step_folder(checkpoints, steps[-1]) if steps else None


def load(folder: Path) -> Checkpoint:
    """Verify every file of a checkpoint and read its state; CheckpointError names a file that is missing or damaged."""
    for name, expected in _manifest_files(folder / MANIFEST).items():
        path = folder / name
        if not path.is_file():
            raise CheckpointError(f"{path} is missing, so this checkpoint cannot be used")
        size = path.stat().st_size
        if size != expected["size"]:
            raise CheckpointError(
                f"{path} has {size} bytes instead of {expected['size']}, so this checkpoint cannot be used"
            )
        if sha256_of(path) != expected["sha256"]:
            raise CheckpointError(f"{path} is damaged (its checksum differs), so this checkpoint cannot be used")
    content = _read_json(folder / STATE)
    return Checkpoint(folder, _state(content["state"]), content["hashes"], content.get("processes", {}))


def read_ahead(checkpoint: Checkpoint) -> StoredSteps:
    """The experience of later steps that a verified checkpoint brings along."""
    return read_steps(checkpoint.folder / AHEAD)


def refuse_other_run(checkpoint: Checkpoint, hashes: dict[str, str], config: RunConfig) -> None:
    """CheckpointError when the config or the reference table is not the one that the checkpoint was made with."""
    known = hashes
    if checkpoint.hashes.get(CONFIG_HASH) == first_hash(config):
        known = {**hashes, CONFIG_HASH: first_hash(config)}
    for name, value in known.items():
        if checkpoint.hashes.get(name) != value:
            raise CheckpointError(
                f"{checkpoint.folder} was made with another {name}; put the old one back, "
                "or start a new run under another name"
            )


def _manifest_files(path: Path) -> dict[str, dict[str, Any]]:
    files = _read_json(path).get("files")
    if (
        not isinstance(files, dict)
        or STATE not in files
        or any({"size", "sha256"} - set(entry) for entry in files.values())
    ):
        raise CheckpointError(f"{path} is damaged (it lists no files), so this checkpoint cannot be used")
    return files


def _state(content: dict[str, Any]) -> State:
    best = content.pop("best")
    return State(**content, best=Best(**best) if best else None)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing, so this checkpoint cannot be used") from None
    except ValueError as error:
        raise CheckpointError(f"{path} is damaged ({error}), so this checkpoint cannot be used") from None
    return content


def _checksums(folder: Path) -> dict[str, dict[str, int | str]]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): {"size": path.stat().st_size, "sha256": sha256_of(path)} for path in files
    }


def _steps(checkpoints: Path) -> list[int]:
    found = [re.fullmatch(r"step_(\d{6,})", path.name) for path in checkpoints.glob("step_*")]
    return sorted(int(match.group(1)) for match in found if match)


def config_hash(config: RunConfig) -> str:
    """sha256 of everything in the config that decides the result."""
    return first_hash(config.model_copy(update={"placement": PlacementConfig()}))


def first_hash(config: RunConfig) -> str:
    """The same as version 0.1 computed it: with the deadline, which did not belong to `placement` then."""
    content = first_form(config)
    content = {name: section for name, section in content.items() if name not in _NOT_THE_RESULT}
    for setting in content["properties"].values():
        del setting["placement"]
        setting.pop("server", None)  # where a served reward model answers, and how it is asked
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
