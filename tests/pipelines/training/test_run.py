"""What went wrong in the workers of a training, in one sentence."""

from __future__ import annotations

from ray.exceptions import RayActorError
from ray.train.v2._internal.exceptions import WorkerHealthCheckFailedError
from ray.train.v2.api.exceptions import ControllerError, WorkerGroupError

from allgood.errors import PlacementError, RoleError, TrainingError
from pipelines.training.run import controller_error, users_error

# What Ray 2.60 says about a worker that was killed.
DEATH = """The actor died unexpectedly before finishing this task.
\tclass_name: RayTrainWorker
\tpid: 17824
The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR Worker exit detail: Worker
unexpectedly exits with a connection error code 2. End of file. Some common causes include: (1) a kill."""


def test_a_worker_that_died_is_one_sentence() -> None:
    death = RayActorError(error_msg=DEATH)
    for failure in (death, WorkerHealthCheckFailedError("Worker health check failed.", death)):
        error = users_error(WorkerGroupError("many lines", {1: failure}), "reward helpful")
        assert str(error) == (
            "training reward helpful: worker 1 died: The actor is dead because its worker process has died; see its log"
        )


def test_a_death_that_ended_ray_trains_controller_is_not_taken_for_a_lack_of_places() -> None:
    error = controller_error(ControllerError(RayActorError(error_msg=DEATH)), "sft")
    assert isinstance(error, RoleError)
    assert str(error).startswith("training sft: a worker died: The actor is dead because")


def test_workers_without_a_place_are_one_sentence() -> None:
    late = RuntimeError("The worker group startup timed out after 2.0 seconds. Potential causes include: many.")
    error = controller_error(ControllerError(late), "sft")
    assert isinstance(error, PlacementError)
    assert "workers (The worker group startup timed out after 2.0 seconds); another run" in str(error)


def test_a_workers_own_error_is_the_error() -> None:
    own = TrainingError("the loss of step 3 is not finite")
    assert users_error(WorkerGroupError("many lines", {0: own}), "sft") is own
