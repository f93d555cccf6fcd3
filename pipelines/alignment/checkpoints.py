"""Checkpoints of an alignment run: all or nothing, verified before they are used.

`checkpoints/step_000050/` holds the learner's files (weights, optimiser, scheduler, value head, random state, as
safetensors and JSON), `ahead/` with experience of later steps that was there already (`stored_experience.py`),
`state.json` (the loop's state, the hashes of config and reference table) and a manifest of all files. How it is written
and verified is `pipelines/output/checkpoint_folders.py`, which trainings share.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable, Sequence
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
from pipelines.output.checkpoint_folders import (
    committed_steps,
    delete_all_but,
    latest_whole,
    seal,
    step_folder,
    unsealed,
)
from pipelines.output.files import atomic_path
from pipelines.output.progress import say
from pipelines.run.folder import RunFolder
from pipelines.storage.checkpoints import LEARNER
from pipelines.storage.copy import RunCopy

CONFIG_HASH = "config"
TABLE_HASH = "reference table"  # among the hashes that tie a checkpoint to its run
# Sections that may change between start and resume, as may `placement` of each property. Only at these places:
# `kl.placement` decides the result, and a property may be called "preview".
_NOT_THE_RESULT = frozenset({"name", "output_dir", "tracking", "placement", "preview", "storage"})

AHEAD = "ahead"


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
        seal(temporary, {"state": asdict(state), "hashes": hashes, "processes": processes})
    return final


def kept_steps(steps: Sequence[int], state: State, *, keep: int) -> set[int]:
    """Of the steps of all checkpoints, in order: the last `keep`, and the best one.

    Checkpoints beyond `state` are damaged ones that were passed over: they would be kept in the place of whole ones.
    """
    best = set() if state.best is None else {state.best.step}
    return set([step for step in steps if step <= state.step][-keep:]) | (best & set(steps))


def prune(checkpoints: Path, state: State, *, keep: int) -> None:
    """Delete all but `kept_steps`, and what killed writers left behind."""
    delete_all_but(checkpoints, kept_steps(committed_steps(checkpoints), state, keep=keep))


def latest_of(folder: RunFolder, copy: RunCopy | None) -> Checkpoint | None:
    """The last whole checkpoint of a run, here or in its copy; one of the copy is brought here, with its logs.

    Raises:
        CheckpointError: As `latest`, and the copy has none either.
    """
    try:
        here = latest(folder.checkpoints, say)
    except CheckpointError:
        if copy is not None and copy.fetch_newer(-1):
            return latest(folder.checkpoints, say)
        raise
    if copy is None or not copy.fetch_newer(here.state.step if here else -1):
        return here
    return latest(folder.checkpoints, say)


def latest(checkpoints: Path, say: Callable[[str], None]) -> Checkpoint | None:
    """The last whole checkpoint, or None if none was ever committed. Damaged ones are named by `say` and passed over.

    Raises:
        CheckpointError: Checkpoints exist, and every one of them is damaged.
    """
    found = latest_whole(checkpoints, load, say)
    if found is None and committed_steps(checkpoints):
        raise CheckpointError(f"every checkpoint in {checkpoints} is damaged; start the run again with --overwrite")
    return found


def newest(checkpoints: Path) -> Path | None:
    """The folder of the last committed checkpoint, not verified; None if there is none."""
    steps = committed_steps(checkpoints)
    return step_folder(checkpoints, steps[-1]) if steps else None


def load(folder: Path) -> Checkpoint:
    """Verify every file of a checkpoint and read its state; CheckpointError names a file that is missing or damaged."""
    content = unsealed(folder)
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


def _state(content: dict[str, Any]) -> State:
    best = content.pop("best")
    return State(**content, best=Best(**best) if best else None)


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
