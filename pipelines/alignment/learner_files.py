"""Where learners write their files: into the run folder that they see, or through the store of a run that has one."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from allgood.errors import PlacementError
from pipelines.alignment.checkpoints import Checkpoint
from pipelines.cast.lane import Lane
from pipelines.output.progress import say
from pipelines.run.folder import RunFolder
from pipelines.run.session import in_joined_cluster
from pipelines.storage.copy import RunCopy


class LearnerFiles(Protocol):
    """How the files of learners come to the driver, and back to them."""

    async def save(self, folder: Path, step: int) -> None:
        """Fill a folder with the learners' part of the checkpoint after `step` updates."""

    async def load(self, checkpoint: Checkpoint) -> None:
        """Have learners and rollout actors go on from a checkpoint."""

    async def save_pretrained(self, folder: Path) -> None:
        """Fill a folder with the policy as a model."""


@dataclass(frozen=True)
class OnSharedDisk:
    """Learners see the run folder."""

    lane: Lane

    async def save(self, folder: Path, step: int) -> None:
        """They write there."""
        await self.lane.save(folder)

    async def load(self, checkpoint: Checkpoint) -> None:
        """They read it there."""
        await self.lane.load(checkpoint.learner.absolute(), checkpoint.state.policy_version)

    async def save_pretrained(self, folder: Path) -> None:
        """They write there."""
        await self.lane.save_pretrained(folder)


@dataclass(frozen=True)
class ThroughStore:
    """At least one learner does not see it: they write to the store, and the driver fetches that, and the reverse."""

    lane: Lane
    copy: RunCopy

    async def save(self, folder: Path, step: int) -> None:
        """They write to the place of the checkpoint in the copy, which does not exist before the driver commits it."""
        place = self.copy.place_of_learners(step)
        files = await self.lane.save_elsewhere(place)
        self.copy.learners_wrote(step, files)
        await asyncio.to_thread(replace(place, files=files).fetch, folder)

    async def load(self, checkpoint: Checkpoint) -> None:
        """They fetch the files that the driver has verified, and verify them too."""
        await self.lane.load_elsewhere(self.copy.stored_learners(checkpoint.folder), checkpoint.state.policy_version)

    async def save_pretrained(self, folder: Path) -> None:
        """They write to a passing place in the copy."""
        with self.copy.passing_place() as place:
            files = await self.lane.save_pretrained_elsewhere(place)
            await asyncio.to_thread(replace(place, files=files).fetch, folder)


async def learner_files(lane: Lane, folder: RunFolder, copy: RunCopy | None) -> LearnerFiles:
    """The way for the learners as they are placed now.

    Raises:
        PlacementError: One does not see the run folder, and the run has no `storage`.
    """
    if not in_joined_cluster():
        return OnSharedDisk(lane)
    apart = await _apart(lane, folder)
    if not apart:
        return OnSharedDisk(lane)
    who, verb = ", ".join(apart), "does" if len(apart) == 1 else "do"
    if copy is None:
        raise PlacementError(
            f"{who} {verb} not see the run folder {folder.path.absolute()}, where learners write their part of "
            "checkpoints; put `output_dir` on a disk that all nodes share, or give the run a `storage`"
        )
    say(f"{who} {verb} not see {folder.path}: the learners' part of checkpoints goes through the store")
    return ThroughStore(lane, copy)


async def _apart(lane: Lane, folder: RunFolder) -> list[str]:
    """Learners that do not see a file which is made for this: another run folder may lie under the same path."""
    sign = folder.path.absolute() / f".seen-{uuid.uuid4().hex}"
    sign.touch()
    try:
        return await lane.learners_without(sign)
    finally:
        sign.unlink()
