"""Several trainings at the same time on one machine or cluster: one Ray task, hence one process, each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import ray
from ray.exceptions import RayTaskError, WorkerCrashedError

from allgood.errors import AllgoodError, RoleError
from pipelines.chain import trained_properties
from pipelines.config.run import RunConfig
from pipelines.reward_model import reward_folder, train_reward
from pipelines.runtime import ray_session
from pipelines.training.follow import following

Report = dict[str, Any]


Task: TypeAlias = "ray.ObjectRef[Report]"


@dataclass(frozen=True)
class SideJob:
    """A training to run beside others. `run` pickles, shows no progress itself, and logs its steps to `metrics`."""

    name: str
    metrics: Path
    run: Callable[[], Report]


def train_rewards(config: RunConfig, *, held_out: bool = False) -> dict[str, Report]:
    """Train the reward models (or held-out evaluators) of all properties that this run trains, at the same time."""
    names = trained_properties(config, held_out=held_out)
    jobs = [
        SideJob(
            name=f"{'held-out' if held_out else 'reward'} {name}",
            metrics=reward_folder(config, name, held_out=held_out) / "metrics.jsonl",
            run=partial(train_reward, _absolute(config), name, held_out=held_out, show_progress=False),
        )
        for name in names
    ]
    return dict(zip(names, train_side_by_side(jobs), strict=True))


def train_side_by_side(jobs: Sequence[SideJob]) -> list[Report]:
    """Run all trainings at once; their reports, in the order given. If one fails, the others are ended.

    Raises:
        AllgoodError: What the first failing training raised.
        RoleError: A process died.
    """
    for job in jobs:
        job.metrics.unlink(missing_ok=True)
    # One reserved CPU each: Ray then also sets OMP_NUM_THREADS=1 for the process.
    remote = ray.remote(_run).options(num_cpus=1, max_retries=0)
    with ray_session(), following({job.name: job.metrics for job in jobs}):
        tasks = {remote.remote(job): job for job in jobs}
        try:
            return _collect(tasks)
        except BaseException:
            for task in tasks:
                ray.cancel(task, force=True)
            raise


def _absolute(config: RunConfig) -> RunConfig:
    # The process of a Ray task may have another current directory.
    return config.model_copy(
        update={"output_dir": config.output_dir.resolve(), "base": config.base.resolve() if config.base else None}
    )


def _run(job: SideJob) -> Report:
    return job.run()


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
