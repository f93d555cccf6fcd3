"""What SIGTERM does to a command, with requests in place of signals; `tests/faults` sends real ones."""

from __future__ import annotations

import asyncio
import os
import signal
import time

import pytest

from allgood.errors import RoleError
from pipelines.run.termination import Terminated, Termination, finishing, grace, hear_sigterm


@pytest.fixture(autouse=True)
def _process_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.run.termination._end_for_certain", lambda seconds: None)


def test_a_command_without_a_grace_ends_at_once_with_the_status_of_the_signal() -> None:
    with pytest.raises(Terminated) as end:
        Termination().request()
    assert end.value.code == 143


def test_a_second_request_changes_nothing() -> None:
    termination, told = Termination(), list[str]()
    with termination.telling(lambda: told.append("once")):
        termination.request()
        termination.request()
    assert told == ["once"]
    with pytest.raises(Terminated), termination.telling(lambda: told.append("too late")):
        pass


def test_a_block_that_heeds_the_event_ends_by_itself() -> None:
    async def block() -> str:
        with grace(60.0, "resume", termination) as asked:
            termination.request()
            await asked.wait()
        return "finished"

    termination = Termination()
    assert asyncio.run(block()) == "finished"


def test_a_block_that_takes_longer_than_its_grace_is_ended() -> None:
    async def block() -> None:
        with grace(0.05, "resume", termination):
            termination.request()
            await asyncio.sleep(60.0)

    termination, began = Termination(), time.monotonic()
    with pytest.raises(Terminated):
        asyncio.run(block())
    assert time.monotonic() - began < 10.0


def test_a_block_without_a_loop_asks_whether_it_should_end() -> None:
    termination = Termination()
    with finishing(60.0, "the same command", termination) as asked:
        assert not asked.is_set()
        termination.request()
        assert asked.is_set()
    with pytest.raises(Terminated), finishing(60.0, "the same command", termination):
        pass


def test_an_actor_lost_after_the_request_went_with_its_node_and_one_lost_before_is_an_error() -> None:
    async def block(*, is_requested: bool) -> None:
        with grace(60.0, "resume", termination) as asked:
            if is_requested:
                termination.request()
                await asked.wait()
            raise RoleError("learner 0 died")

    termination = Termination()
    with pytest.raises(RoleError):
        asyncio.run(block(is_requested=False))
    with pytest.raises(Terminated):
        asyncio.run(block(is_requested=True))


def test_a_real_signal_wakes_a_loop_and_the_handler_before_it_comes_back() -> None:
    async def block() -> None:
        with grace(60.0, "resume", termination) as asked:
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.wait_for(asked.wait(), 10.0)

    termination, before = Termination(), signal.getsignal(signal.SIGTERM)
    try:
        hear_sigterm()
        handler = signal.getsignal(signal.SIGTERM)
        asyncio.run(block())
        assert signal.getsignal(signal.SIGTERM) is handler
    finally:
        signal.signal(signal.SIGTERM, before)
