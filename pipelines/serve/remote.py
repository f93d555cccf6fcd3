"""A scorer that lives in Ray Serve, asked from the process that answers requests.

Scoring is idempotent: a call whose replica died is asked again of another one, until the request's deadline. Serve's
own refusal of a call (its queue is full) becomes ours, so that the client is told to come back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from ray.exceptions import RayActorError, RayTaskError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError, ReplicaUnavailableError
from ray.serve.handle import DeploymentHandle

from allgood.errors import AllgoodError
from allgood.scorers.scorer import Scored
from pipelines.serve.replica import ModellessError

_PAUSE_S = 0.1  # before a call is asked again
_LOST = (RayActorError, DeploymentUnavailableError, ReplicaUnavailableError, ModellessError)

Answer = TypeVar("Answer")


class BusyError(Exception):
    """More waits than may wait; the client shall come back."""


class RemoteScorer:
    """The scorer of a property, `handle` its deployment; splits what it is asked into calls of `rows_per_call`.

    `on_retry` is told of every call that is asked again. The async methods are for the event loop `loop`, the others
    for its threads, where they wait `deadline_s` at most.
    """

    def __init__(
        self,
        handle: DeploymentHandle[Any],
        *,
        loop: asyncio.AbstractEventLoop,
        rows_per_call: int,
        deadline_s: float,
        on_retry: Callable[[], None],
    ) -> None:
        methods = ("ready", "score", "prompt_features")
        self._methods = {method: handle.options(method_name=method) for method in methods}
        self._loop = loop
        self._rows_per_call = rows_per_call
        self._deadline_s = deadline_s
        self._on_retry = on_retry

    async def score_async(self, prompts: Sequence[str], responses: Sequence[str]) -> Scored:
        """As `scorer.Scorer.score`.

        Raises:
            BusyError: Too many calls wait.
            RoleError: The scorer failed as a whole.
        """
        size = self._rows_per_call
        starts = range(0, len(prompts), size)
        parts = await asyncio.gather(
            *(
                self._retried("score", prompts[start : start + size], responses[start : start + size])
                for start in starts
            )
        )
        return _joined(parts, starts)

    async def ready(self) -> None:
        """Return when a replica has its model.

        Raises:
            AllgoodError: Why it has none.
        """
        await self._retried("ready")

    def score(self, prompts: Sequence[str], responses: Sequence[str]) -> Scored:
        """See `scorer.Scorer.score`; for threads, such as those that score a property's canned replies."""
        return self._wait(self.score_async(prompts, responses))

    def features(self, prompts: Sequence[str]) -> NDArray[np.float32]:
        """See `prompt_features.Features`; for threads."""
        return self._wait(self._retried("prompt_features", prompts))

    def _wait(self, asked: Coroutine[Any, Any, Answer]) -> Answer:
        return asyncio.run_coroutine_threadsafe(asked, self._loop).result(self._deadline_s)

    async def _retried(self, method: str, *arguments: Sequence[str]) -> Any:
        while True:
            try:
                return await self._methods[method].remote(*arguments)
            except BackPressureError as error:
                raise BusyError("too many rows wait for a scorer") from error
            except _LOST:
                self._on_retry()
                await asyncio.sleep(_PAUSE_S)
            except RayTaskError as error:
                # Its message is a traceback; what a scorer says of itself is in the cause.
                raise error.cause if isinstance(error.cause, AllgoodError) else error from None


def _joined(parts: Sequence[Scored], starts: Sequence[int]) -> Scored:
    if not parts:
        return Scored(np.zeros(0, dtype=np.float32))
    reasons = {
        start + row: reason for start, part in zip(starts, parts, strict=True) for row, reason in part.reasons.items()
    }
    return Scored(np.concatenate([part.rewards for part in parts]), 0, reasons)
