"""Experience of the steps to come, made while the learner still takes the step before.

Rollout actors hold one weight version at a time. So versions and chunks stand in one line: a version is delivered when
everything that the versions before it must generate has been generated, then the chunks that name it begin. Scoring
holds up nobody in that line. What is made depends on the line alone, never on who is ready first.

Steps: begun -> generated -> scored (`finished`) -> taken. The loop begins a step only when its version is there, so at
most `staleness` + 1 steps are in memory, however long the run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

from actors.cluster.gather import gather
from actors.messages import Chunk, Experience, Rollout
from pipelines.cast.collect import Crew, Delivery, assess

StoredSteps = Mapping[int, Sequence[Experience]]
"""Finished experience by step."""


class StepsAhead:
    """The steps that have begun. An asynchronous context manager: leaving it cancels what is still being made.

    Args:
        crew: Who makes experience.
        held: The weight version that the rollout actors hold now.
        stored: Experience that a checkpoint brought along.
    """

    def __init__(self, crew: Crew, *, held: int, stored: StoredSteps) -> None:
        self._crew, self._held = crew, held
        self._stored = dict(stored)
        self._making: dict[int, asyncio.Task[list[Experience]]] = {}
        self._line: asyncio.Task[list[asyncio.Future[Rollout]]] | None = None  # its last place
        self._generating: list[asyncio.Future[Rollout]] = []  # by the version that is held

    def has_begun(self, step: int) -> bool:
        """Whether the experience of a step that was not taken yet is being made, or is there."""
        return step in self._stored or step in self._making

    def begin(self, step: int, chunks: Sequence[Chunk], version: int, deliver: Delivery) -> None:
        """Have a step's chunks generated and scored, by a version that is delivered first if it is not held."""
        place = self._stand_in_line(version, deliver, chunks)
        self._making[step] = asyncio.create_task(self._experience(place))

    async def hold(self, version: int, deliver: Delivery) -> None:
        """Return when the rollout actors hold a version, after all that older ones must generate."""
        await self._stand_in_line(version, deliver, ())

    async def take(self, step: int) -> Sequence[Experience]:
        """The experience of a step, in chunk order, which is then forgotten here."""
        if step in self._stored:
            return self._stored.pop(step)
        experience = await asyncio.shield(self._making[step])  # who gives up the wait leaves it to `finished`
        del self._making[step]
        return experience

    async def finished(self) -> StoredSteps:
        """All steps that have begun and were not taken, once they are finished."""
        return {**self._stored, **{step: await making for step, making in sorted(self._making.items())}}

    async def __aenter__(self) -> StepsAhead:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        line = [] if self._line is None else [self._line]
        tasks: list[asyncio.Future[Any]] = [*self._making.values(), *self._generating, *line]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _stand_in_line(
        self, version: int, deliver: Delivery, chunks: Sequence[Chunk]
    ) -> asyncio.Task[list[asyncio.Future[Rollout]]]:
        self._line = asyncio.create_task(self._begun(self._line, version, deliver, chunks))
        return self._line

    async def _begun(
        self,
        before: asyncio.Task[list[asyncio.Future[Rollout]]] | None,
        version: int,
        deliver: Delivery,
        chunks: Sequence[Chunk],
    ) -> list[asyncio.Future[Rollout]]:
        """The chunks as they are being generated; a failure of one place in the line is one of all behind it."""
        if before is not None:
            await before
        if version != self._held:
            await asyncio.gather(*self._generating)
            await deliver()
            self._held, self._generating = version, []
        begun: list[asyncio.Future[Rollout]] = [asyncio.ensure_future(self._crew.generate(chunk)) for chunk in chunks]
        self._generating += begun
        return begun

    async def _experience(self, place: asyncio.Task[list[asyncio.Future[Rollout]]]) -> list[Experience]:
        return await gather(self._scored(rollout) for rollout in await place)

    async def _scored(self, rollout: asyncio.Future[Rollout]) -> Experience:
        # Shielded: an error elsewhere in the step cancels this, but those who stand in line wait for the rollout too.
        return await assess(await asyncio.shield(rollout), self._crew)
