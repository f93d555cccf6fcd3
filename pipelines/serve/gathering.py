"""Dynamic batching in a scorer's replica: calls that wait while a pass runs share the next one.

Nobody waits for a batch to fill. The first call starts at once, and what arrives meanwhile goes together, up to a
budget of text; within a pass the scorer makes micro-batches by its own budget of tokens. So a batch grows as far as the
load does. Rewards of a row may differ by rounding with its neighbours, as in any batch.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from allgood.scorers.scorer import Scored

Score = Callable[[Sequence[str], Sequence[str]], Scored]


@dataclass(frozen=True)
class _Call:
    prompts: Sequence[str]
    responses: Sequence[str]
    answer: asyncio.Future[Scored]

    @property
    def num_characters(self) -> int:
        return sum(map(len, self.prompts)) + sum(map(len, self.responses))


class Gatherer:
    """Answers concurrent calls of one event loop by passes of `score`, one pass at a time in a thread.

    `max_characters` bounds a pass; a call that is longer has a pass of its own.
    """

    def __init__(self, score: Score, *, max_characters: int) -> None:
        self._score = score
        self._max_characters = max_characters
        self._waiting: deque[_Call] = deque()
        self._worker: asyncio.Task[None] | None = None

    async def score(self, prompts: Sequence[str], responses: Sequence[str]) -> Scored:
        """Rewards of the rows of one call; raises what `score` raises for them."""
        call = _Call(prompts, responses, asyncio.get_running_loop().create_future())
        self._waiting.append(call)
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        return await call.answer

    async def _work(self) -> None:
        while calls := self._next():
            await self._answer(calls)

    def _next(self) -> list[_Call]:
        """The calls of the next pass, in the order of their coming; whoever has gone away is left out."""
        calls: list[_Call] = []
        room = self._max_characters
        while self._waiting:
            call = self._waiting[0]
            if not call.answer.done():
                room -= call.num_characters
                if calls and room < 0:
                    break
                calls.append(call)
            self._waiting.popleft()
        return calls

    async def _answer(self, calls: Sequence[_Call]) -> None:
        prompts = [prompt for call in calls for prompt in call.prompts]
        responses = [response for call in calls for response in call.responses]
        try:
            scored = await asyncio.to_thread(self._score, prompts, responses)
        except Exception as error:  # of one call, perhaps: the others shall not fail with it
            if len(calls) > 1:
                for call in calls:
                    await self._answer([call])
            elif not calls[0].answer.done():
                calls[0].answer.set_exception(error)
            return
        start = 0
        for call in calls:
            if not call.answer.done():
                call.answer.set_result(part_of(scored, start, start + len(call.prompts)))
            start += len(call.prompts)


def part_of(scored: Scored, start: int, end: int) -> Scored:
    """What was found for the rows from `start` to before `end`. Which prompts were cut is not known by row."""
    reasons = {row - start: reason for row, reason in scored.reasons.items() if start <= row < end}
    return Scored(scored.rewards[start:end], 0, reasons)
