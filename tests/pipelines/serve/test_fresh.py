"""References from fresh samples: one sampling per prompt, whoever asks and gives up; bounded work and memory."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import numpy as np
import pytest

from allgood.conversations import prompt_id
from allgood.errors import ModelError, RoleError
from allgood.scorers.asked import Asked
from allgood.scorers.read_rows import ReadRow, ReadRows
from allgood.scorers.reference_files import References
from allgood.scorers.rewards_spec import ReferenceFrom, SamplesSpec
from allgood.scorers.scorer import Scored
from pipelines.serve.fresh import FreshReferences
from pipelines.serve.remote import BusyError
from pipelines.serve.settings import SamplesSettings

NOWHERE: ReferenceFrom = "nowhere"


def asked(*prompts: str) -> Asked:
    """A call about prompts of which two properties know nothing."""
    rows = ReadRows(tuple(ReadRow(prompt, "yes", None) for prompt in prompts), 0)
    unknown = References({prompt_id(prompt): float("nan") for prompt in prompts})
    found_by = dict.fromkeys(unknown.values, NOWHERE)
    return Asked(rows, {"long": unknown, "wide": unknown}, {"long": found_by, "wide": found_by}, None)


class Policy:
    """Answers with the prompt once and twice, once `go` is set; remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.go = asyncio.Event()
        self.go.set()
        self.num_sampled = 0

    async def sample(self, key: str, prompt: str) -> Sequence[str]:
        self.asked.append(prompt)
        await self.go.wait()
        if "too long" in prompt:
            raise ModelError("nothing of the prompt fits")
        if "broken" in prompt and self.asked.count(prompt) == 1:
            raise RoleError("the policy's logits are not finite")
        return [prompt, prompt * 2]

    def references(self, **settings: float) -> FreshReferences:
        async def length(prompts: Sequence[str], responses: Sequence[str]) -> Scored:
            return Scored(np.float32([len(response) for response in responses]))

        def count() -> None:
            self.num_sampled += 1

        return FreshReferences(
            {"long": SamplesSpec("mean"), "wide": SamplesSpec("draws", num=1)},
            self.sample,
            {"long": length, "wide": length},
            SamplesSettings.model_validate(settings),
            on_sampled=count,
        )


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(scenario(), 30))  # type: ignore[arg-type]  # a coroutine function's result is one


def test_what_nobody_knows_is_filled_in_for_all_properties_at_once() -> None:
    async def scenario() -> None:
        policy = Policy()
        fresh = policy.references()
        found = await fresh.completed(asked("tea", "too long"))
        tea, too_long = prompt_id("tea"), prompt_id("too long")
        assert found.references["long"].values[tea] == 4.5  # of 3 and 6 letters
        assert found.references["wide"].values[tea] == 3.0
        assert found.references["wide"].draws[tea].tolist() == [3.0]
        assert found.reference_from["long"] == {tea: "samples", too_long: "nowhere"}
        assert policy.asked == ["tea", "too long"]
        await fresh.completed(asked("tea", "too long"))
        assert policy.asked == ["tea", "too long"]  # both are known now
        assert policy.num_sampled == 1

    run(scenario)


def test_a_prompt_is_sampled_once_however_many_ask_and_even_if_they_give_up() -> None:
    async def scenario() -> None:
        policy = Policy()
        policy.go.clear()
        fresh = policy.references()
        impatient = asyncio.create_task(fresh.completed(asked("tea")))
        patient = asyncio.create_task(fresh.completed(asked("tea", "mate")))
        await asyncio.sleep(0.01)
        impatient.cancel()
        await asyncio.sleep(0.01)
        policy.go.set()
        found = await patient
        assert set(found.reference_from["long"].values()) == {"samples"}
        assert policy.asked == ["tea", "mate"]

    run(scenario)


def test_work_that_everybody_left_is_there_for_the_next_request() -> None:
    async def scenario() -> None:
        policy = Policy()
        policy.go.clear()
        fresh = policy.references()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(fresh.completed(asked("tea")), 0.01)
        policy.go.set()
        await fresh.completed(asked("tea"))
        assert policy.asked == ["tea"]

    run(scenario)


def test_what_is_remembered_is_bounded_and_the_oldest_goes_first() -> None:
    async def scenario() -> None:
        policy = Policy()
        fresh = policy.references(cached_prompts=2)
        for prompt in ("a", "b", "a", "c", "a", "b"):
            await fresh.completed(asked(prompt))
        assert policy.asked == ["a", "b", "c", "b"]

    run(scenario)


def test_more_than_may_wait_is_refused_and_what_waits_already_is_not_counted_twice() -> None:
    async def scenario() -> None:
        policy = Policy()
        policy.go.clear()
        fresh = policy.references(waiting_prompts=2)
        with pytest.raises(ValueError, match="3 prompts need fresh samples, and samples.waiting_prompts is 2"):
            await fresh.completed(asked("a", "b", "c"))
        first = asyncio.create_task(fresh.completed(asked("a", "b")))
        await asyncio.sleep(0.01)
        with pytest.raises(BusyError, match="2 prompts are being sampled"):
            await fresh.completed(asked("a", "c"))
        again = asyncio.create_task(fresh.completed(asked("b", "a")))
        await asyncio.sleep(0.01)
        policy.go.set()
        await asyncio.gather(first, again)
        assert policy.asked == ["a", "b"]

    run(scenario)


def test_a_failure_is_told_and_not_remembered() -> None:
    async def scenario() -> None:
        policy = Policy()
        fresh = policy.references()
        with pytest.raises(RoleError, match="not finite"):
            await fresh.completed(asked("broken"))
        found = await fresh.completed(asked("broken"))
        assert set(found.reference_from["wide"].values()) == {"samples"}

    run(scenario)


def test_a_prompt_that_takes_too_long_is_given_up() -> None:
    async def scenario() -> None:
        policy = Policy()
        policy.go.clear()
        with pytest.raises(RoleError, match=r"more than samples.timeout_s = 0\.01 s"):
            await policy.references(timeout_s=0.01).completed(asked("tea"))

    run(scenario)
