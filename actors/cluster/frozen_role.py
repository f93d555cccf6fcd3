"""A role of a named cast whose actors never change, for code without an event loop.

It travels as the names of the actors, to any process of the cluster, and may be asked from any thread there. A call
whose actor died is made again, as everywhere (`recovery`).
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from actors.cluster.gather import gather
from actors.cluster.limits import Limits
from actors.cluster.named_actors import attach
from actors.cluster.pool import Pool
from actors.cluster.recovery import Fault, Recovery
from actors.cluster.supervision import ActorNames

logger = logging.getLogger(__name__)


class FrozenRole:
    """The replicas of `role`; each call goes to one that is free."""

    def __init__(self, names: ActorNames, role: str, limits: Limits) -> None:
        self.__setstate__((names, role, limits))

    def __getstate__(self) -> tuple[ActorNames, str, Limits]:
        return self._names, self._role, self._limits

    def __setstate__(self, state: tuple[ActorNames, str, Limits]) -> None:
        self._names, self._role, self._limits = state
        self._pool: Pool | None = None

    def ask_each(
        self, method: Callable[[Any], Any], arguments: Sequence[tuple[object, ...]], *, phase: str
    ) -> list[Any]:
        """Answers to several calls of a method, in their order; as many at a time as there are replicas.

        Raises:
            RoleError: The actors are gone with the process that made them, or gave no answer.
            AllgoodError: What an actor raised.
        """
        asked = self._answers(method, arguments, phase)
        return asyncio.run_coroutine_threadsafe(asked, _background_loop()).result()

    async def _answers(
        self, method: Callable[[Any], Any], arguments: Sequence[tuple[object, ...]], phase: str
    ) -> list[Any]:
        if self._pool is None:  # only the loop's thread comes here
            actors = attach(self._names)
            recovery = Recovery(actors, self._role, self._limits, _log)
            self._pool = Pool(actors, self._role, self._limits, recovery)
        pool = self._pool
        return await gather(pool.call(method, *each, phase=phase) for each in arguments)


@cache
def _background_loop() -> asyncio.AbstractEventLoop:
    """A loop that runs in a thread of its own as long as the process does."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="frozen actors", daemon=True).start()
    return loop


def _log(fault: Fault) -> None:
    logger.warning("%s failed in %s and was started anew: %s", fault.who, fault.phase, fault.reason)
