"""Replicas of a role: each call goes to one that is free."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from actors.cluster.gather import gather
from actors.cluster.supervision import Who, ask


class Pool:
    """The replicas of one role. A call goes to a replica that is free; a busy role makes callers wait here."""

    def __init__(self, actors: Sequence[Any], *, who: Callable[[int], Who], deadline_s: float) -> None:
        self._actors = list(actors)
        self._who = who
        self._deadline_s = deadline_s
        self._free: asyncio.Queue[int] = asyncio.Queue()
        for replica in range(len(self._actors)):
            self._free.put_nowait(replica)

    @property
    def size(self) -> int:
        """Number of replicas."""
        return len(self._actors)

    def first(self) -> Any:
        """The first replica's handle."""
        return self._actors[0]

    async def call(self, method: Callable[[Any], Any], *arguments: object, phase: str) -> Any:
        """Ask one free replica; `method` picks the method from its handle."""
        replica = await self._free.get()
        try:
            return await self._ask(replica, method, *arguments, phase=phase)
        finally:
            self._free.put_nowait(replica)

    async def call_all(self, method: Callable[[Any], Any], *arguments: object, phase: str) -> list[Any]:
        """Ask every replica at once; answers in replica order."""
        replicas = range(len(self._actors))
        return await gather(self._ask(replica, method, *arguments, phase=phase) for replica in replicas)

    async def call_each(self, method: Callable[[Any], Any], parts: Sequence[object], *, phase: str) -> list[Any]:
        """Ask every replica at once, each with its own part; answers in replica order."""
        return await gather(self._ask(replica, method, part, phase=phase) for replica, part in enumerate(parts))

    async def call_first(self, method: Callable[[Any], Any], *arguments: object, phase: str) -> Any:
        """Ask the first replica."""
        return await self._ask(0, method, *arguments, phase=phase)

    async def _ask(self, replica: int, method: Callable[[Any], Any], *arguments: object, phase: str) -> Any:
        who = self._who(replica)
        return await ask(method(self._actors[replica]), *arguments, who=who, phase=phase, deadline_s=self._deadline_s)
