"""Dynamic batching: calls that wait while passes run share the next one.

Nobody waits for a batch to fill. The first call starts at once, and what arrives meanwhile goes together, up to a
budget; so a batch grows as far as the load does. It is used twice. In the process that answers requests it saves calls
of Ray Serve, which cost milliseconds each; in a replica it saves passes of the model, within which the scorer makes
micro-batches by its own budget of tokens. Rewards of a row may differ by rounding with its neighbours, as in any batch.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from allgood.scorers.scorer import Scored

Score = Callable[[Sequence[str], Sequence[str]], Awaitable[Scored]]


@dataclass(frozen=True)
class Budget:
    """How much goes into one pass; a call that is larger has a pass of its own."""

    rows: int = sys.maxsize
    characters: int = sys.maxsize


@dataclass(frozen=True)
class _Call:
    prompts: Sequence[str]
    responses: Sequence[str]
    answer: asyncio.Future[Scored]

    @property
    def num_characters(self) -> int:
        return sum(map(len, self.prompts)) + sum(map(len, self.responses))


class Gatherer:
    """Answers concurrent calls of one event loop by passes of `score`, of which at most `num_passes` run at once."""

    def __init__(self, score: Score, budget: Budget, *, num_passes: int = 1) -> None:
        self._score = score
        self._budget = budget
        self._num_passes = num_passes
        self._waiting: deque[_Call] = deque()
        self._passes: set[asyncio.Task[None]] = set()

    async def score(self, prompts: Sequence[str], responses: Sequence[str]) -> Scored:
        """Rewards of the rows of one call; raises what `score` raises for them."""
        call = _Call(prompts, responses, asyncio.get_running_loop().create_future())
        self._waiting.append(call)
        self._begin_passes()
        return await call.answer

    def _begin_passes(self) -> None:
        while len(self._passes) < self._num_passes and (calls := self._next()):
            task = asyncio.create_task(self._answer(calls))
            self._passes.add(task)
            task.add_done_callback(self._end_pass)

    def _end_pass(self, task: asyncio.Task[None]) -> None:
        self._passes.discard(task)
        self._begin_passes()

    def _next(self) -> list[_Call]:
        """The calls of the next pass, in the order of their coming; whoever has gone away is left out."""
        calls: list[_Call] = []
        rows, characters = self._budget.rows, self._budget.characters
        while self._waiting:
            call = self._waiting[0]
            if not call.answer.done():
                rows -= len(call.prompts)
                characters -= call.num_characters
                if calls and min(rows, characters) < 0:
                    break
                calls.append(call)
            self._waiting.popleft()
        return calls

    async def _answer(self, calls: Sequence[_Call]) -> None:
        prompts = [prompt for call in calls for prompt in call.prompts]
        responses = [response for call in calls for response in call.responses]
        try:
            scored = await self._score(prompts, responses)
        except Exception as error:  # of one call, perhaps: the others shall not fail with it
            if len(calls) > 1:
                for call in calls:
                    if not call.answer.done():
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
