"""Calls that wait together share a pass, within a budget, and none pays for another's failure."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from functools import partial

import numpy as np
import pytest

from allgood.scorers.scorer import Scored
from pipelines.serve.gathering import Budget, Gatherer


class Lengths:
    """Scores by length, in passes that start when they are let; raises on "bad", has no reward for ""."""

    def __init__(self) -> None:
        self.passes: list[list[str]] = []
        self.may_go = threading.Event()

    def score(self, prompts: Sequence[str], responses: Sequence[str]) -> Scored:
        assert self.may_go.wait(10)
        self.passes.append(list(responses))
        if "bad" in responses:
            raise ValueError("a bad response")
        rewards = np.array([len(text) or np.nan for text in responses], dtype=np.float32)
        return Scored(rewards, 0, {row: "nothing to score" for row, text in enumerate(responses) if not text})


def gatherer_of(lengths: Lengths, budget: Budget) -> Gatherer:
    return Gatherer(partial(asyncio.to_thread, lengths.score), budget)


async def answers(lengths: Lengths, calls: Sequence[Sequence[str]], *, max_characters: int) -> list[object]:
    """What each call gets, when the first is in a pass before the others come."""
    gatherer = gatherer_of(lengths, Budget(characters=max_characters))
    tasks = []
    for call in calls:
        tasks.append(asyncio.create_task(gatherer.score(["p"] * len(call), call)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    lengths.may_go.set()
    return list(await asyncio.gather(*tasks, return_exceptions=True))


def test_what_arrives_during_a_pass_shares_the_next_one() -> None:
    lengths = Lengths()
    found = asyncio.run(answers(lengths, [["a"], ["bb", ""], ["ccc"]], max_characters=100))
    assert lengths.passes == [["a"], ["bb", "", "ccc"]]
    first, second, third = found
    assert isinstance(first, Scored)
    assert isinstance(second, Scored)
    assert isinstance(third, Scored)
    assert first.rewards.tolist() == [1.0]
    assert second.rewards[0] == 2.0
    assert np.isnan(second.rewards[1])
    assert second.reasons == {1: "nothing to score"}
    assert (third.rewards.tolist(), third.reasons) == ([3.0], {})


def test_a_pass_holds_no_more_than_its_budget_but_at_least_one_call() -> None:
    lengths = Lengths()
    # With its prompt a row of n letters has n + 1 characters.
    asyncio.run(answers(lengths, [["a"], ["b" * 20], ["c", "d"], ["e" * 8]], max_characters=10))
    assert lengths.passes == [["a"], ["b" * 20], ["c", "d"], ["e" * 8]]


def test_a_call_that_fails_fails_alone() -> None:
    lengths = Lengths()
    found = asyncio.run(answers(lengths, [["a"], ["bad"], ["ccc"]], max_characters=100))
    assert isinstance(found[1], ValueError)
    assert [part.rewards.tolist() for part in found if isinstance(part, Scored)] == [[1.0], [3.0]]


def test_who_has_gone_away_is_not_scored() -> None:
    async def gone() -> list[list[str]]:
        lengths = Lengths()
        gatherer = gatherer_of(lengths, Budget(characters=100))
        tasks = [asyncio.create_task(gatherer.score(["p"], [text])) for text in ("a", "bb", "ccc")]
        await asyncio.sleep(0.05)
        tasks[1].cancel()
        await asyncio.sleep(0)
        lengths.may_go.set()
        await asyncio.gather(*tasks, return_exceptions=True)
        return lengths.passes

    passes = asyncio.run(gone())
    assert ["bb"] not in passes
    assert sum(map(len, passes)) in (2, 3)


@pytest.mark.parametrize("num_calls", [1, 40])
def test_every_row_is_answered_once(num_calls: int) -> None:
    lengths = Lengths()
    calls = [["x" * (1 + number % 7)] * (1 + number % 3) for number in range(num_calls)]
    found = asyncio.run(answers(lengths, calls, max_characters=25))
    for call, scored in zip(calls, found, strict=True):
        assert isinstance(scored, Scored)
        assert scored.rewards.tolist() == [float(len(text)) for text in call]
    assert sum(map(len, lengths.passes)) == sum(map(len, calls))


def test_several_passes_run_at_once_and_rows_are_a_budget_too() -> None:
    passes: list[list[str]] = []
    running = 0
    most = 0

    async def score(prompts: Sequence[str], responses: Sequence[str]) -> Scored:
        nonlocal running, most
        running += 1
        most = max(most, running)
        passes.append(list(responses))
        await asyncio.sleep(0.01)
        running -= 1
        return Scored(np.array([len(text) for text in responses], dtype=np.float32))

    async def found() -> list[Scored]:
        gatherer = Gatherer(score, Budget(rows=3), num_passes=2)
        return await asyncio.gather(*(gatherer.score(["p"], ["x" * number]) for number in range(1, 9)))

    assert [scored.rewards.tolist() for scored in asyncio.run(found())] == [[float(number)] for number in range(1, 9)]
    assert most == 2
    assert [len(rows) for rows in passes] == [1, 1, 3, 3]
