"""What went wrong in the workers of a training, in one sentence."""

from __future__ import annotations

from ray.exceptions import RayActorError
from ray.train.v2._internal.exceptions import WorkerHealthCheckFailedError
from ray.train.v2.api.exceptions import WorkerGroupError

from allgood.errors import TrainingError
from pipelines.training.run import users_error

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
            "training worker 1 died in reward helpful: "
            "The actor is dead because its worker process has died; see its log"
        )


def test_a_workers_own_error_is_the_error() -> None:
    own = TrainingError("the loss of step 3 is not finite")
    assert users_error(WorkerGroupError("many lines", {0: own}), "sft") is own
