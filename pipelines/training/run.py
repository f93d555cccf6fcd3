"""Running a training under Ray Train's TorchTrainer: in this process, or on workers with gloo or NCCL between them."""

from __future__ import annotations

import logging
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import ray.train.torch
import torch
from ray.exceptions import RayActorError
from ray.train.v2._internal.exceptions import WorkerHealthCheckFailedError  # has no public place
from ray.train.v2.api.config import FailureConfig, LoggingConfig, RunConfig, ScalingConfig
from ray.train.v2.api.exceptions import ControllerError, WorkerGroupError

from actors.cluster.admission import admit_when_free
from actors.cluster.placement import Request, Resources
from actors.cluster.supervision import reason_of
from allgood.errors import AllgoodError, PlacementError, RoleError
from pipelines.config.training import TrainingConfig
from pipelines.output.checkpoint_folders import committed_steps, step_folder
from pipelines.output.progress import say
from pipelines.run.last_words import last_words
from pipelines.run.session import ray_session
from pipelines.run.termination import Terminated, finishing
from pipelines.training.follow import Followed, Observe, following, nobody
from pipelines.training.job import CHECKPOINTS, Job, Outcome
from pipelines.training.train import train
from pipelines.training.workers import Workers, never

T = TypeVar("T")

_GROUP_TIMEOUT_S = 300  # a worker that waits longer than this for the others fails instead of hanging


def run_training(job: Job, *, show_progress: bool = True, observe: Observe = nobody) -> Outcome:
    """Train `job` with the number of workers that it asks for.

    With `show_progress`, the steps are shown while they happen, and `observe` is told of each.

    Raises:
        TrainingError: The training diverged.
        PlacementError: The cluster cannot hold the workers.
        RoleError: A worker died. As after every interruption, a call of the same goes on from the last checkpoint.
    """
    job.folder.mkdir(parents=True, exist_ok=True)
    for earlier in (job.metrics, job.faults):  # the log up to a checkpoint comes back with that
        earlier.unlink(missing_ok=True)
    job.report.unlink(missing_ok=True)  # its temperature is that of an earlier model, which best/ soon no longer holds
    followed = {job.name: Followed(job.metrics, job.faults, observe)} if show_progress else {}
    with how_to_go_on({job.name: job.folder}), following(followed):
        if job.training.workers == 0:
            with finishing(job.grace_s, "the same command") as asked_to_end:
                return _fit(job, storage="", is_asked_to_end=asked_to_end.is_set)
        # All workers must see the storage, as they must see the job's folder.
        with ray_session(dashboard=True), tempfile.TemporaryDirectory(dir=job.folder, prefix=".ray-") as storage:
            admit_when_free([_request(job)])
            return _in_thread(lambda: _fit(job, storage=storage))


@contextmanager
def how_to_go_on(folders: Mapping[str, Path]) -> Iterator[None]:
    """Say from where the same command will go on when what trains in `folders`, by name, is interrupted."""
    try:
        with last_words("the same command goes on from the last checkpoint of the training"):
            yield
    except (KeyboardInterrupt, RoleError, Terminated):
        for name, folder in folders.items():
            steps = committed_steps(folder / CHECKPOINTS)
            if steps:
                newest = step_folder(folder / CHECKPOINTS, steps[-1])
                say(f"training {name} was interrupted; {newest} is complete and the same command goes on from it")
        raise


def _fit(job: Job, *, storage: str, is_asked_to_end: Callable[[], bool] = never) -> Outcome:
    logging.getLogger("ray.train").setLevel(logging.WARNING)
    trainer = ray.train.torch.TorchTrainer(
        lambda: _worker(job, is_asked_to_end),  # type: ignore[arg-type]  # its return value is the result's
        scaling_config=_scaling(job.training),
        torch_config=ray.train.torch.TorchConfig(timeout_s=_GROUP_TIMEOUT_S),
        # A name that was used before would silently resume that run. Models go to the job's folder, not to the storage.
        run_config=RunConfig(  # type: ignore[arg-type]  # annotated with version 1's class
            name=uuid.uuid4().hex,
            storage_path=storage or None,
            logging_config=LoggingConfig("ERROR"),
            failure_config=FailureConfig(controller_failure_limit=0),  # else it waits for its workers for ever
        ),
    )
    try:
        result = trainer.fit()
    except WorkerGroupError as error:
        raise users_error(error, job.name) from error
    except ControllerError as error:
        raise controller_error(error, job.name) from error
    outcome: Outcome = result.return_value  # type: ignore[attr-defined]  # annotated with version 1's class
    return outcome


def _worker(job: Job, is_asked_to_end: Callable[[], bool]) -> Outcome | None:
    context = ray.train.get_context()
    if job.training.workers == 0:
        device = None
    else:
        device = ray.train.torch.get_device() if job.training.gpus_per_worker else torch.device("cpu")
    return train(job, Workers(context.get_world_rank(), context.get_world_size(), device, is_asked_to_end))


def _request(job: Job) -> Request:
    training = job.training
    return Request(
        f"training {job.name}",
        Resources(training.workers, training.cpus_per_worker, training.gpus_per_worker, None, training.accelerator),
    )


def _scaling(training: TrainingConfig) -> ScalingConfig:
    if training.workers == 0:
        return ScalingConfig(num_workers=0)
    resources = {"CPU": training.cpus_per_worker}
    if training.gpus_per_worker:
        resources["GPU"] = training.gpus_per_worker
    return ScalingConfig(
        num_workers=training.workers,
        use_gpu=training.gpus_per_worker > 0,
        resources_per_worker=resources,
        label_selector={"ray.io/accelerator-type": training.accelerator} if training.accelerator else None,
    )


def users_error(error: WorkerGroupError, name: str) -> AllgoodError:
    """The first worker's own error where it is one for the user; one sentence about a worker that died."""
    for failure in error.worker_failures.values():
        cause: BaseException | None = failure
        while cause is not None:
            if isinstance(cause, AllgoodError):
                return cause
            cause = cause.__cause__
    for rank, failure in error.worker_failures.items():
        died = failure.health_check_failure if isinstance(failure, WorkerHealthCheckFailedError) else failure
        if isinstance(died, RayActorError):
            return RoleError(f"training {name}: worker {rank} died: {reason_of(str(died))}; see its log")
    return RoleError(f"training {name}: {len(error.worker_failures)} worker(s) failed; {error}")


def controller_error(error: ControllerError, name: str) -> AllgoodError:
    """A worker died before all had started, and Ray does not say which; or they got no place."""
    reason = reason_of(str(error.controller_failure))
    if isinstance(error.controller_failure, RayActorError):
        return RoleError(f"training {name}: a worker died: {reason}; see its log")
    return PlacementError(
        f"training {name}: Ray did not start its workers ({reason}); another run may have taken what they need: "
        "try again, or look at `ray status`"
    )


def _in_thread(run: Callable[[], T]) -> T:
    """Run in a thread, so that Ctrl-C interrupts the caller; on the main thread Ray Train would take it over."""
    results: list[Any] = []

    def target() -> None:
        try:
            results.append((run(), None))
        except BaseException as error:  # handed to the caller below
            results.append((None, error))

    thread = threading.Thread(target=target, name="ray-train", daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(timeout=0.2)
    value, error = results[0]
    if error is not None:
        raise error
    result: T = value
    return result
