"""Scorers and samplers that live in Ray Serve, asked from the process that answers requests.

Their calls are idempotent: one whose replica died is asked again of another one, until the request's deadline. Serve's
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
from allgood.scorers.scorer import Scored, joined
from pipelines.serve.gathering import Budget, Gatherer
from pipelines.serve.model_or_reason import ModellessError
from pipelines.serve.settings import ScorerSettings

_PAUSE_S = 0.1  # before a call is asked again
_LOST = (RayActorError, DeploymentUnavailableError, ReplicaUnavailableError, ModellessError)

Answer = TypeVar("Answer")


class BusyError(Exception):
    """More waits than may wait; the client shall come back."""


class Calls:
    """Calls of a deployment's methods by name, made again when a replica dies, of which `on_retry` is told."""

    def __init__(self, handle: DeploymentHandle[Any], *, on_retry: Callable[[], None]) -> None:
        self._handle = handle
        self._methods: dict[str, DeploymentHandle[Any]] = {}
        self._on_retry = on_retry

    async def ask(self, method: str, *arguments: object) -> Any:
        """The answer of a replica.

        Raises:
            BusyError: Too many calls wait.
            AllgoodError: What the replica raised.
        """
        if method not in self._methods:
            self._methods[method] = self._handle.options(method_name=method)
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


class RemoteScorer:
    """The scorer of a property, asked in calls of `rows_per_call`, which rows of several requests share under load.

    The async methods are for the event loop `loop`, the others for its threads, where they wait `deadline_s` at most.
    """

    def __init__(
        self, calls: Calls, settings: ScorerSettings, *, loop: asyncio.AbstractEventLoop, deadline_s: float
    ) -> None:
        self._calls = calls
        self._loop = loop
        self._rows_per_call = settings.rows_per_call
        self._deadline_s = deadline_s
        # Each replica has one call in work, and one that waits for it.
        num_calls = 2 * (settings.max_replicas or settings.resources.replicas)
        self._gatherer = Gatherer(self._score, Budget(rows=settings.rows_per_call), num_passes=num_calls)

    async def score_async(self, prompts: Sequence[str], responses: Sequence[str]) -> Scored:
        """As `scorer.Scorer.score`.

        Raises:
            BusyError: Too many calls wait.
            RoleError: The scorer failed as a whole.
        """
        size = self._rows_per_call
        parts = await asyncio.gather(
            *(
                self._gatherer.score(prompts[start : start + size], responses[start : start + size])
                for start in range(0, len(prompts), size)
            )
        )
        return joined(parts)

    async def _score(self, prompts: Sequence[str], responses: Sequence[str]) -> Scored:
        async with asyncio.timeout(self._deadline_s):  # whoever waits has then given up before
            scored: Scored = await self._calls.ask("score", prompts, responses)
            return scored

    async def ready(self) -> None:
        """Return when a replica has its model.

        Raises:
            AllgoodError: Why it has none.
        """
        await self._calls.ask("ready")

    def score(self, prompts: Sequence[str], responses: Sequence[str]) -> Scored:
        """See `scorer.Scorer.score`; for threads, such as those that score a property's canned replies."""
        return self._wait(self.score_async(prompts, responses))

    def features(self, prompts: Sequence[str]) -> NDArray[np.float32]:
        """See `prompt_features.Features`; for threads."""
        return self._wait(self._calls.ask("prompt_features", prompts))

    def _wait(self, asked: Coroutine[Any, Any, Answer]) -> Answer:
        return asyncio.run_coroutine_threadsafe(asked, self._loop).result(self._deadline_s)


class RemoteSampler:
    """pi_0, asked on the event loop."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def ready(self) -> None:
        """Return when a replica has its model.

        Raises:
            AllgoodError: Why it has none.
        """
        await self._calls.ask("ready")

    async def sample(self, prompt_id: str, prompt: str) -> tuple[str, ...]:
        """Responses of pi_0 to a prompt.

        Raises:
            ModelError: Nothing of the prompt fits.
            RoleError: The policy's logits are not finite.
        """
        responses: tuple[str, ...] = await self._calls.ask("sample", prompt_id, prompt)
        return responses
