"""Waiting for coroutines that may fail or be given up."""

from __future__ import annotations

import asyncio

import pytest

from actors.cluster.gather import unless


def test_work_that_is_done_in_time_gives_its_result_and_its_error() -> None:
    async def run() -> int | None:
        return await unless(asyncio.Event(), asyncio.sleep(0, result=7))

    async def fail() -> None:
        async def work() -> None:
            raise ValueError("broken")

        await unless(asyncio.Event(), work())

    assert asyncio.run(run()) == 7
    with pytest.raises(ValueError, match="broken"):
        asyncio.run(fail())


def test_work_that_is_given_up_is_cancelled_and_has_cleaned_up() -> None:
    async def run() -> tuple[None, list[str]]:
        seen, stop = list[str](), asyncio.Event()

        async def work() -> None:
            try:
                await asyncio.sleep(60.0)
            finally:
                await asyncio.sleep(0)
                seen.append("cleaned up")

        asyncio.get_running_loop().call_later(0.01, stop.set)
        return await unless(stop, work()), seen

    assert asyncio.run(run()) == (None, ["cleaned up"])
