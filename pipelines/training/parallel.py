"""Several trainings at the same time on one machine or cluster: one Ray task, hence one process, each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import ray
from ray.exceptions import RayTaskError, WorkerCrashedError

from allgood.errors import AllgoodError, RoleError
from pipelines.config.run import RunConfig
from pipelines.run.session import ray_session
from pipelines.run.tracking import Tracker
from pipelines.training.follow import Followed, Observe, following, nobody
from pipelines.training.job import FAULTS, METRICS
from pipelines.training.reward_model import reward_folder, reward_stage, track_report, train_reward, trained_properties
from pipelines.training.run import how_to_go_on

_TOGETHER_S = 1.0

Report = dict[str, Any]


Task: TypeAlias = "ray.ObjectRef[Report]"


@dataclass(frozen=True)
class SideJob:
    """A training to run alongside others. `run` pickles, shows no progress itself, and writes into `folder`.

    `observe` stays here and is told of each step.
    """

    name: str
    folder: Path
    run: Callable[[], Report]
    observe: Observe = nobody


def train_rewards(config: RunConfig, *, held_out: bool = False) -> dict[str, Report]:
    """Train the reward models (or held-out evaluators) of all properties that this run trains, at the same time."""
    names = trained_properties(config, held_out=held_out)
    with ExitStack() as stack:
        trackers = {name: stack.enter_context(Tracker(reward_stage(config, name, held_out=held_out))) for name in names}
        jobs = [
            SideJob(
                name=f"{'held-out' if held_out else 'reward'} {name}",
                folder=reward_folder(config, name, held_out=held_out),
                run=partial(train_reward, _absolute(config), name, held_out=held_out, show_progress=False),
                observe=tracker.log_row,
            )
            for name, tracker in trackers.items()
        ]
        reports = dict(zip(names, train_side_by_side(jobs), strict=True))
        for name, tracker in trackers.items():
            track_report(tracker, reports[name], reward_folder(config, name, held_out=held_out))
    return reports


def train_side_by_side(jobs: Sequence[SideJob]) -> list[Report]:
    """Run all trainings at once; their reports, in the order given. If one fails, the others are ended.

    Raises:
        AllgoodError: What the first failing training raised.
        RoleError: A process died.
    """
    followed = {job.name: Followed(job.folder / METRICS, job.folder / FAULTS, job.observe) for job in jobs}
    for training in followed.values():
        for earlier in (training.metrics, training.faults):
            earlier.unlink(missing_ok=True)
    # One reserved CPU each: Ray then also sets OMP_NUM_THREADS=1 for the process.
    remote = ray.remote(_run).options(num_cpus=1, max_retries=0)
    with how_to_go_on({job.name: job.folder for job in jobs}), ray_session(), following(followed):
        tasks = {remote.remote(job.run): job for job in jobs}
        try:
            return _collect(tasks)
        except BaseException:
            _end(list(tasks))
            raise


def _end(tasks: list[Task]) -> None:
    """End what still runs, after a moment for trainings that end together.

    A task that is cancelled just as it answers brings the whole process down (Ray 2.60: "Tried to complete task that
    was not pending"), and with it the sentence that says what went wrong.
    """
    _, running = ray.wait(tasks, num_returns=len(tasks), timeout=_TOGETHER_S)
    for task in running:
        ray.cancel(task, force=True)


def _absolute(config: RunConfig) -> RunConfig:
    # The process of a Ray task may have another current directory.
    return config.model_copy(
        update={"output_dir": config.output_dir.resolve(), "base": config.base.resolve() if config.base else None}
    )


def _run(training: Callable[[], Report]) -> Report:
    return training()


def _collect(tasks: dict[Task, SideJob]) -> list[Report]:
    waiting = list(tasks)
    while waiting:
        done, waiting = ray.wait(waiting, num_returns=1, timeout=1.0)
        for task in done:
            _get(task, tasks[task])  # so that a failure ends the others at once
    return [_get(task, job) for task, job in tasks.items()]


def _get(task: Task, job: SideJob) -> Report:
    try:
        report: Report = ray.get(task)
    except RayTaskError as error:
        if isinstance(error.cause, AllgoodError):
            raise error.cause from None
        raise
    except WorkerCrashedError as error:
        raise RoleError(
            f"the process of training {job.name!r} died (out of memory?); "
            "train with a smaller `batch_size`, or one after the other"
        ) from error
    return report
