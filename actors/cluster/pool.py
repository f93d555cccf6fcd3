"""Replicas of a role: each call goes to one that is free.

A pool keeps no handles. It looks one up for each call, so that it asks a replica that was started anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from actors.cluster.gather import gather
from actors.cluster.recipe import Recipe
from actors.cluster.supervision import Who, ask
from allgood.errors import RoleError


class Actors(Protocol):
    """Running actors by role. Roles: rollout, reward.<property>, reference_policy, learner."""

    @property
    def scorers(self) -> list[str]:
        """Properties that have reward actors, in the order of the request."""

    def handles(self, role: str) -> Sequence[Any]:
        """The replicas of a role as they are now, learners in rank order; empty for a role that is not there."""

    def who(self, role: str, replica: int = 0) -> Who:
        """The name of an actor for messages."""

    def change_recipe(self, role: str, change: Callable[[Recipe], Recipe]) -> None:
        """Note what the replicas of a role are told, for one that starts anew."""

    def restart(self, role: str, replica: int = 0) -> None:
        """Have one replica start anew and become what the role's recipe says; blocks until it has."""

    def close(self) -> None:
        """End the actors; whoever waits for one of them gets a RoleError."""


class Pool:
    """The replicas of one role. A call goes to a replica that is free; a busy role makes callers wait here."""

    def __init__(self, actors: Actors, role: str, *, deadline_s: float) -> None:
        self._actors = actors
        self._role = role
        self._deadline_s = deadline_s
        self.size = len(actors.handles(role))
        self._free: asyncio.Queue[int] = asyncio.Queue()
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
        """Ask one free replica; `method` picks the method from its handle."""
        if self.size == 0:
            self.handle(0)  # nobody will ever be free: refuse instead of waiting
        replica = await self._free.get()
        try:
            return await self._ask(replica, method, *arguments, phase=phase)
        finally:
            self._free.put_nowait(replica)

    async def call_all(self, method: Callable[[Any], Any], *arguments: object, phase: str) -> list[Any]:
        """Ask every replica at once; answers in replica order."""
        return await gather(self._ask(replica, method, *arguments, phase=phase) for replica in range(self.size))

    async def call_each(self, method: Callable[[Any], Any], parts: Sequence[object], *, phase: str) -> list[Any]:
        """Ask every replica at once, each with its own part; answers in replica order."""
        return await gather(self._ask(replica, method, part, phase=phase) for replica, part in enumerate(parts))

    async def call_first(self, method: Callable[[Any], Any], *arguments: object, phase: str) -> Any:
        """Ask the first replica."""
        return await self._ask(0, method, *arguments, phase=phase)

    async def _ask(self, replica: int, method: Callable[[Any], Any], *arguments: object, phase: str) -> Any:
        who = self._actors.who(self._role, replica)
        return await ask(method(self.handle(replica)), *arguments, who=who, phase=phase, deadline_s=self._deadline_s)
