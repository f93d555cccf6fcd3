"""Replicas of a role: each call goes to one that is free.

While many calls wait, a replica is given its next one ahead, so that it does not idle while an answer travels. Not
while few do: the last calls of a step go to whoever is free first, since replicas may be of very different speed.

A pool keeps no handles. It looks one up for each call, so that it asks a replica that was started anew. Whether a call
is made again is decided in `recovery`.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Protocol

from actors.cluster.gather import gather
from actors.cluster.limits import Limits
from actors.cluster.recipe import Recipe
from actors.cluster.recovery import Loss, Recovery
from actors.cluster.supervision import Who, ask
from actors.messages import LogProbs, Scores, UpdateResult
from allgood.errors import RoleError

LONG_QUEUE = 3
"""Calls that wait per replica, above which each is given one ahead. One that is three times as slow as the others would
find calls waiting when it ends its own, and take the same one then: the end of a step is not held up."""


class Actors(Protocol):
    """Running actors by role. Roles: rollout, reward.<property>, reference_policy, learner."""

    @property
    def scorers(self) -> list[str]:
        """Properties that have reward actors, in the order of the request."""

    def handles(self, role: str) -> Sequence[Any]:
        """The replicas of a role as they are now, learners in rank order; empty for a role that is not there."""

    def who(self, role: str, replica: int = 0) -> Who:
        """The name of an actor for messages."""

    def place(self, role: str, replica: int = 0) -> Mapping[str, Any]:
        """What an actor has said about where it runs (`actors.location`)."""

    def change_recipe(self, role: str, change: Callable[[Recipe], Recipe]) -> None:
        """Note what the replicas of a role are told, for one that starts anew."""

    def restart(self, role: str, replica: int = 0, loss: Loss | None = None) -> bool:
        """Have one replica start anew and become what the role's recipe says; blocks until it has.

        Learners start anew together. False: the replica that was lost has been replaced already.
        """

    def close(self) -> None:
        """End the actors; whoever waits for one of them gets a RoleError."""


class Pool:
    """The replicas of one role. A call goes to a replica that is free; a busy role makes callers wait here.

    In a long queue a replica has two calls at a time, and the deadline of the second counts from the first's end.

    A call whose replica is lost is made again, as `recovery` says, while others go on with the replicas that are left.
    """

    def __init__(self, actors: Actors, role: str, limits: Limits, recovery: Recovery) -> None:
        self._actors = actors
        self._role = role
        self._deadline_s = limits.deadline_s
        self._recovery = recovery
        self.size = len(actors.handles(role))
        self._free: asyncio.Queue[int] = asyncio.Queue()
        self._num_waiting = 0
        self._ahead: set[int] = set()  # replicas that have, or may have, two calls at a time
        self._last: dict[int, asyncio.Future[None]] = {}  # by replica, the end of the call that it was given last
        self._recovering: set[asyncio.Task[None]] = set()
        self._failed: dict[int, RoleError] = {}  # by replica, why it could not be started anew
        for replica in range(self.size):
            self._free.put_nowait(replica)

    def handle(self, replica: int) -> Any:
        """The handle of a replica as it is now.

        Raises:
            RoleError: The role has no such replica.
        """
        handles = self._actors.handles(self._role)
        if replica >= len(handles):
            raise RoleError(f"there is no {self._role} actor {replica}: the cast was not asked for it, or is closed")
        return handles[replica]

    async def call(self, method: Callable[[Any], Any], *arguments: object, phase: str) -> Any:
        """Ask one free replica; `method` picks the method from its handle. Replicas may be asked twice."""
        if self.size == 0:
            self.handle(0)  # nobody will ever be free: refuse instead of waiting
        for num_tries in itertools.count(1):
            replica, recovery = await self._next_free(), None
            before, end = self._last.get(replica), asyncio.get_running_loop().create_future()
            self._last[replica] = end
            try:
                handle = self.handle(replica)
                return await self._ask(handle, replica, method, *arguments, phase=phase, after=before)
            except RoleError as error:
                self._recovery.refuse(error, num_tries=num_tries)
                recovery = self._recovery.recover(error, replica, handle, phase, num_tries=num_tries)
            finally:
                end.set_result(None)
                self._free_after(recovery, replica)
        raise AssertionError("the loop above ends by itself")

    async def call_all(self, method: Callable[[Any], Any], *arguments: object, phase: str) -> list[Any]:
        """Ask every replica at once; answers in replica order. Replicas may be asked twice."""
        return await gather(self._tell(replica, method, *arguments, phase=phase) for replica in range(self.size))

    async def call_each(self, method: Callable[[Any], Any], parts: Sequence[object], *, phase: str) -> list[Any]:
        """Ask every replica once, all at the same time, each with its own part; answers in replica order."""
        return await gather(
            self._ask(self.handle(replica), replica, method, part, phase=phase) for replica, part in enumerate(parts)
        )

    async def call_first(self, method: Callable[[Any], Any], *arguments: object, phase: str) -> Any:
        """Ask the first replica; it may be asked twice."""
        return await self._tell(0, method, *arguments, phase=phase)

    async def _tell(self, replica: int, method: Callable[[Any], Any], *arguments: object, phase: str) -> Any:
        for num_tries in itertools.count(1):
            handle = self.handle(replica)
            try:
                return await self._ask(handle, replica, method, *arguments, phase=phase)
            except RoleError as error:
                self._recovery.refuse(error, num_tries=num_tries)
                await self._recovered(
                    self._recovery.recover(error, replica, handle, phase, num_tries=num_tries), replica
                )
        raise AssertionError("the loop above ends by itself")

    def _free_after(self, recovery: Coroutine[Any, Any, None] | None, replica: int) -> None:
        """Let the next caller have the replica, once it has recovered; nobody waits for that here."""
        if recovery is None:
            self._release(replica)
            return
        task = asyncio.create_task(self._recovered(recovery, replica))
        self._recovering.add(task)  # a loop keeps no reference to its tasks
        task.add_done_callback(self._recovering.discard)
        task.add_done_callback(lambda _: self._release(replica))

    async def _next_free(self) -> int:
        self._num_waiting += 1
        try:
            return await self._free.get()
        finally:
            self._num_waiting -= 1

    def _release(self, replica: int) -> None:
        """Let callers have the replica again: once for the call that ended, and once ahead in a long queue."""
        is_long, has_two = self._num_waiting > LONG_QUEUE * self.size, replica in self._ahead
        for _ in range(1 + is_long - has_two):
            self._free.put_nowait(replica)
        (self._ahead.add if is_long else self._ahead.discard)(replica)

    async def _recovered(self, recovery: Coroutine[Any, Any, None], replica: int) -> None:
        """Wait for a recovery. Whoever asks the replica next gets the error of one that failed, and may try another."""
        try:
            await recovery
        except RoleError as error:
            self._failed[replica] = error

    async def _ask(
        self,
        handle: Any,
        replica: int,
        method: Callable[[Any], Any],
        *arguments: object,
        phase: str,
        after: asyncio.Future[None] | None = None,
    ) -> Any:
        if replica in self._failed:
            raise self._failed.pop(replica)
        who = self._actors.who(self._role, replica)
        answer = await ask(method(handle), *arguments, who=who, phase=phase, deadline_s=self._deadline_s, after=after)
        if isinstance(answer, Scores | LogProbs | UpdateResult):
            self._recovery.note(who, phase, answer.retries)
        return answer
