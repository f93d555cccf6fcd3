"""How a training goes on from its last checkpoint, and when it writes new ones. All workers call this together."""

from __future__ import annotations

import shutil
import time

import torch
from torch import nn

from actors.learning.state import random_state
from actors.location import computes_otherwise, location
from allgood.errors import AllgoodError
from pipelines.output.checkpoint_folders import committed_steps, latest_whole, step_folder
from pipelines.output.files import atomic_path
from pipelines.output.metrics_log import MetricsLog
from pipelines.training.checkpoint import Checkpoint, Circumstances, Progress, Trained, commit, load, restore
from pipelines.training.identity import identity
from pipelines.training.job import Job
from pipelines.training.pace import Pace
from pipelines.training.workers import Workers


class Resumption:
    """The checkpoints of one training. The first worker decides which is used and writes them, the others follow.

    `model` is as the training starts with it, `dtype` that of its forward passes.
    """

    def __init__(self, job: Job, workers: Workers, model: nn.Module, trained: Trained, dtype: torch.dtype) -> None:
        self._job, self._workers, self._trained = job, workers, trained
        self._identity = identity(job, model, dtype) if workers.rank == 0 else {}
        self._process = {key: value for key, value in location().items() if key in ("threads", "gpu", "cpu")}
        self._pace = Pace()

    def restored(self) -> Progress | None:
        """How far an earlier try came, with everything put back to where it was then; None: nothing to go on from."""
        found = self._found() if self._workers.rank == 0 else None
        step = int(self._workers.of_first(0.0 if found is None else found.step))
        if step == 0:
            return None
        checkpoint = found or load(step_folder(self._job.checkpoints, step))
        if self._workers.rank == 0:
            self._go_on_from(checkpoint)
        return restore(checkpoint, self._trained, rank=self._workers.rank)

    def write_if_due(self, progress: Progress) -> None:
        """Write a checkpoint, unless the last one was written just now."""
        if self._workers.of_first(float(self._pace.is_due())):
            self.write(progress)

    def write(self, progress: Progress) -> None:
        """Write a checkpoint. A full disk is told and ends nothing: only an interruption would need it."""
        random_states = self._workers.gathered(random_state())
        if self._workers.rank != 0:
            return
        job, now = self._job, Circumstances(self._identity, self._process, random_states)
        with self._pace.writing():
            try:
                commit(job.checkpoints, progress, self._trained, now, metrics=job.metrics)
            except AllgoodError as error:
                self.tell(f"training {job.name} goes on without a checkpoint of step {progress.step}: {error}")

    def _found(self) -> Checkpoint | None:
        """The last whole checkpoint of this training; those of another one in the same place are removed."""
        checkpoints = self._job.checkpoints
        found = latest_whole(checkpoints, load, self.tell)
        if found is not None:
            other = [name for name, value in self._identity.items() if found.circumstances.identity.get(name) != value]
            if not other:
                return found
            self.tell(
                f"{found.folder} was made with other {' and '.join(other)}, so it is removed, and training "
                f"{self._job.name} starts at step 0"
            )
        elif committed_steps(checkpoints):
            self.tell(f"no checkpoint in {checkpoints} can be used; training {self._job.name} starts at step 0")
        shutil.rmtree(checkpoints, ignore_errors=True)
        return None

    def _go_on_from(self, checkpoint: Checkpoint) -> None:
        job, before = self._job, checkpoint.circumstances
        with atomic_path(job.metrics) as temporary:  # as it was: no step is logged twice
            shutil.copyfile(checkpoint.metrics, temporary)
        self.tell(f"training {job.name} goes on after step {checkpoint.step} of {job.num_steps}")
        change = computes_otherwise(before.process, self._process)
        if len(before.random_states) != self._workers.world_size:
            change = f"workers {len(before.random_states)} before, {self._workers.world_size} now"
        if change is not None:
            self.tell(
                f"training {job.name} computes with {change}: from here on results may differ in their last bits from "
                "those of an undisturbed training"
            )

    def tell(self, sentence: str) -> None:
        """Have whoever started the training say it."""
        # It is read there: a worker's own output is not shown.
        MetricsLog(self._job.faults).append({"time": round(time.time(), 3), "reason": sentence})
