"""`allgood align` and `allgood resume`: a policy aligned to all properties, from pi_0 or from a checkpoint.

This file decides what a run is made of (prompts, treatments, objective, KL controller, files), hands it to an arm
(`arm.py`), and lets the arm go on from the last checkpoint when a learner is lost. With kept actors several arms run on
one cast, one after another or side by side; everything an arm leaves in a shared actor stands under the arm's key.
"""

from __future__ import annotations

import itertools
import json
import shutil
import time
from pathlib import Path
from typing import Any

from actors.cluster.recovery import Fault
from actors.cluster.supervision import LEARNER
from actors.faults import LearnerLostError, LearnerMemoryError, LostObjectError
from allgood.errors import AllgoodError, RoleError
from pipelines.alignment import checkpoints
from pipelines.alignment.arm import Arm
from pipelines.alignment.checkpoints import CONFIG_HASH, Checkpoint, config_hash
from pipelines.alignment.setup import Setup, set_up
from pipelines.alignment.watching import Watch, told_once
from pipelines.cast.actors import Actors, cast_for
from pipelines.cast.faults import FaultLog
from pipelines.cast.processes import threads_in
from pipelines.cast.request import align_request
from pipelines.cast.threads import with_threads
from pipelines.config.loading import load_run, save_config
from pipelines.config.run import RunConfig
from pipelines.objective.guards import kl_notice
from pipelines.output.progress import say
from pipelines.run.folder import SFT_SAMPLES, RunFolder, refuse_alignment
from pipelines.run.last_words import last_words
from pipelines.run.locks import reading_base, writing_results
from pipelines.run.termination import Terminated
from pipelines.storage.copy import RunCopy, check_storage, copy_of


def run_align(
    config: RunConfig, cast: Actors | None = None, *, overwrite: bool = False, watch: Watch | None = None
) -> dict[str, Any]:
    """Align from pi_0; returns what `summary.json` holds. With `cast`, its actors are used and kept.

    Raises:
        ConfigError: The run folder already holds an alignment and `overwrite` is not set, or one is running there.
        AllgoodError: Whatever else a user can act on: references, models, placement, failed scores.
    """
    folder = RunFolder(config.folder)
    if not overwrite:
        refuse_alignment(folder)
    check_storage(config, overwrite=overwrite)
    with reading_base(config.base_folder, "align"):
        setup = set_up(config)
        with writing_results(folder.path, "align"), copy_of(config, "align") as copy:
            _make_room(folder)
            save_config(config, folder.config)
            if copy is not None:
                copy.begin(config, overwrite=overwrite)
            return _run(setup, folder, cast, copy, checkpoint=None, watch=watch)


def resume(run_folder: Path, cast: Actors | None = None, *, watch: Watch | None = None) -> dict[str, Any]:
    """Continue a run from its last whole checkpoint to the same end that it would have had without the interruption.

    With `cast`, its actors are used and kept, and hold the last policy afterwards. Without, a run that is finished
    stays as it is.

    Raises:
        ConfigError: The folder holds no run, or it is running.
        CheckpointError: All checkpoints are damaged, or belong to another config or reference table.
    """
    folder, config = RunFolder(run_folder), load_run(run_folder)
    with (
        writing_results(folder.path, "resume"),
        reading_base(config.base_folder, "resume"),
        copy_of(config, "resume") as copy,
    ):
        checkpoint = checkpoints.latest_of(folder, copy)
        if cast is None and folder.model.is_dir() and folder.summary.is_file():
            if checkpoint is not None:
                checkpoints.refuse_other_run(checkpoint, {CONFIG_HASH: config_hash(config)}, config)
            say(f"{run_folder} is finished: {folder.model}")
            summary: dict[str, Any] = json.loads(folder.summary.read_text(encoding="utf-8"))
            return summary
        if checkpoint is not None and config.threads == "auto":
            config = with_threads(config, threads_in(checkpoint.processes))
        setup = set_up(config)
        if checkpoint is None:
            say(f"{run_folder} has no checkpoint yet; starting at step 0")
        else:
            checkpoints.refuse_other_run(checkpoint, setup.hashes, config)
            say(f"continuing {run_folder} after step {checkpoint.state.step}")
        return _run(setup, folder, cast, copy, checkpoint=checkpoint, watch=watch)


def _run(
    setup: Setup,
    folder: RunFolder,
    cast: Actors | None,
    copy: RunCopy | None,
    *,
    checkpoint: Checkpoint | None,
    watch: Watch | None,
) -> dict[str, Any]:
    notice = kl_notice(setup.config)
    if notice is not None:
        say(notice)
    if cast is None:
        shutil.rmtree(folder.weights, ignore_errors=True)  # a killed run leaves what was on its way
    faults = FaultLog(folder.faults)
    try:
        with last_words(_words(folder)), cast_for(setup.config, align_request, cast) as kept:
            arm = Arm(setup, folder, faults, kept, is_own_cast=cast is None, watch=told_once(watch), copy=copy)
            for num_losses in itertools.count(1):
                try:
                    return arm.conclude(checkpoint)
                except (LearnerLostError, LostObjectError) as error:
                    if num_losses > setup.config.placement.max_restarts:
                        raise
                    if isinstance(error, LearnerMemoryError):
                        arm = arm.in_smaller_passes(error)
                    faults(_new_learners(kept, error))
                checkpoint = checkpoints.latest(folder.checkpoints, say)
                say(f"going back to step {checkpoint.state.step if checkpoint else 0}, the last whole checkpoint")
    except (KeyboardInterrupt, AllgoodError, Terminated):
        say(_how_to_resume(folder))
        raise
    raise AssertionError("the loop above ends by itself")


def _new_learners(cast: Actors, error: RoleError) -> Fault:
    """Start the learners anew, after one was lost or with it the weights that it had published."""
    began = time.monotonic()
    cast.restart(LEARNER)
    return Fault(cast.who(LEARNER), "training", str(error), time.monotonic() - began, restarted=True)


def _make_room(folder: RunFolder) -> None:
    """Remove an earlier alignment with all that was measured of it: its numbers would pass for those of the new one.

    The start policy's samples stay: they carry the key of what they depend on, and other runs on this base use them.
    """
    measured = [path for path in folder.evaluation.glob("*") if path.name != SFT_SAMPLES]
    logs = (folder.metrics, folder.groups, folder.faults)
    for path in (*logs, folder.samples, folder.summary, folder.report, *measured):
        path.unlink(missing_ok=True)
    for path in (folder.checkpoints, folder.model, folder.plots):
        shutil.rmtree(path, ignore_errors=True)


def _words(folder: RunFolder) -> str:
    return f"the last checkpoint of {folder.path} stands, and `allgood resume {folder.path}` continues from it"


def _how_to_resume(folder: RunFolder) -> str:
    newest = checkpoints.newest(folder.checkpoints)
    if newest is None:
        return f"interrupted before the first checkpoint of {folder.path}; start it again with `allgood align`"
    return f"interrupted; {newest} is complete and `allgood resume {folder.path}` continues from it"
