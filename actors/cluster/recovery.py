"""The one place that decides whether something is tried again: which failures, how often, after which restart.

A call that fails because of its replica (`actors.faults`) is made again, on that replica started anew or on another
one. Only calls that may be made twice come here: generating, scoring, reference log-probs and what a replica is told.
A learner's update is not among them. Everything else an actor raises is an answer and goes to the caller.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from actors.cluster.limits import Limits
from actors.cluster.supervision import Who
from actors.faults import ActorHungError, ActorLostError, LearnerLostError, LostObjectError, LostTreatmentError
from actors.messages import Retry
from allgood.errors import RoleError

Result = TypeVar("Result")

_LONGEST_PAUSE_S = 30.0


@dataclass(frozen=True)
class Loss:
    """A replica that no longer answers as it should. With `is_hung` its process may still be there."""

    handle: Any
    is_hung: bool


@dataclass(frozen=True)
class Fault:
    """A failure that was got over: whose, in what, why, and the seconds until the replica was ready again.

    `restarted` is False where somebody else had started the replica anew already.
    """

    who: Who
    phase: str
    reason: str
    seconds: float
    restarted: bool


class Restarts(Protocol):
    """Who can start replicas anew."""

    def who(self, role: str, replica: int = 0) -> Who:
        """The name of a replica."""

    def restart(self, role: str, replica: int = 0, loss: Loss | None = None) -> bool:
        """Have a lost replica start anew and be told everything; False where that has happened already."""


class Recovery:
    """Restarts and retries of one role, within their limits. `renew` publishes weights again that were lost."""

    def __init__(
        self,
        restarts: Restarts,
        role: str,
        limits: Limits,
        tell: Callable[[Fault], None],
        renew: Callable[[], object] | None = None,
    ) -> None:
        self._restarts, self._role, self._limits = restarts, role, limits
        self._tell, self._renew = tell, renew
        self._num_restarts = 0

    def refuse(self, error: RoleError, *, num_tries: int) -> None:
        """Raise the error of the `num_tries`-th try of a call, if there is to be no other.

        Raises:
            RoleError: It is an answer, or no replica can help, or the limits are reached.
        """
        if not isinstance(error, ActorLostError | LostTreatmentError) or isinstance(error, LearnerLostError):
            raise error
        if num_tries > self._limits.max_retries:
            raise RoleError(f"{error}; given up after {num_tries} tries (placement.max_retries)") from error
        if self._num_restarts >= self._limits.max_restarts:
            raise RoleError(
                f"{error}; {self._role} actors were started anew {self._num_restarts} times already "
                "(placement.max_restarts)"
            ) from error

    async def recover(self, error: RoleError, replica: int, handle: Any, phase: str, *, num_tries: int) -> None:
        """Make the replica ready again after `error`.

        Raises:
            RoleError: It does not start, or cannot be told what the others know.
        """
        began = time.monotonic()
        if num_tries > 1:  # what killed it may still be going on, such as a lack of memory
            await asyncio.sleep(min(_LONGEST_PAUSE_S, 2.0 ** (num_tries - 2)))
        loss = Loss(handle, isinstance(error, ActorHungError))
        try:
            restarted = await self._restart(replica, loss)
        except LostObjectError:
            if self._renew is None:
                raise
            self._renew()
            restarted = await self._restart(replica, loss)
        self._num_restarts += restarted
        seconds = time.monotonic() - began
        self._tell(Fault(self._restarts.who(self._role, replica), phase, str(error), seconds, restarted))

    def note(self, who: Who, phase: str, retries: Sequence[Retry]) -> None:
        """Tell of what a replica did again by itself."""
        for retry in retries:
            reason = f"{who} failed in {phase}: {retry.reason}"
            self._tell(Fault(who, phase, reason, retry.seconds, restarted=False))

    async def _restart(self, replica: int, loss: Loss) -> bool:
        return await in_thread(lambda: self._restarts.restart(self._role, replica, loss))


async def in_thread(function: Callable[[], Result]) -> Result:
    """The result of a blocking function that nobody waits for when the caller is cancelled, Ctrl-C included."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Result] = loop.create_future()

    def deliver(settle: Callable[[Any], None], value: object) -> None:
        if not future.done():
            settle(value)

    def target() -> None:
        settle: Callable[[Any], None] = future.set_result
        value: object
        try:
            value = function()
        except BaseException as error:
            settle, value = future.set_exception, error
        if not loop.is_closed():
            loop.call_soon_threadsafe(deliver, settle, value)

    # No executor: its threads are waited for when the loop ends.
    threading.Thread(target=target, name="restart", daemon=True).start()
    return await future
