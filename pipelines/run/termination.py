"""SIGTERM: how Slurm, Kubernetes and spot machines say that a machine is about to go.

A command that `hear_sigterm` was called for ends as it does with Ctrl-C, with the status that a shell gives it. What
should finish something first asks for a `grace`: it is told by an event, and ended when its time is up. Whoever sends
SIGTERM may send it twice (to a process and to its group), so the second one changes nothing.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from allgood.errors import RoleError
from pipelines.output.progress import say
from pipelines.run.last_words import farewell

_STATUS = 128 + signal.SIGTERM  # what a shell gives a process that SIGTERM ended
_CLOSING_S = 8.0  # what closing may take; senders of SIGTERM wait 30 s in all, by default


class Terminated(SystemExit):
    """SIGTERM ended the command. Not an error: whoever does not handle it ends silently with the right status."""

    def __init__(self) -> None:
        super().__init__(_STATUS)


class Termination:
    """Whether this process was asked to end, and who is to be told."""

    def __init__(self) -> None:
        self.is_requested = False
        self._told: list[Callable[[], None]] = []

    def request(self) -> None:
        """Tell whoever has a grace; end the command at once where nobody has.

        Raises:
            Terminated: Nobody has, and it was not asked for before.
        """
        if self.is_requested:
            return
        self.is_requested = True
        if not self._told:
            raise Terminated
        for tell in self._told:
            tell()

    @contextmanager
    def telling(self, tell: Callable[[], None]) -> Iterator[None]:
        """Have a request call `tell`, from any thread, while the block runs.

        Raises:
            Terminated: It was requested before.
        """
        if self.is_requested:
            raise Terminated
        self._told.append(tell)
        try:
            yield
        finally:
            self._told.remove(tell)


_TERMINATION = Termination()


def hear_sigterm() -> None:
    """Have SIGTERM end this process in order. To be called again when Ray has started, which takes the signal over."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda number, frame: _TERMINATION.request())


@contextmanager
def grace(seconds: float, go_on: str, termination: Termination = _TERMINATION) -> Iterator[asyncio.Event]:
    """An event that a request sets. The block of the running task should then end, and is ended after `seconds`.

    `go_on` names the command that continues afterwards.

    Raises:
        Terminated: It was ended, or lost an actor after the request: a node that goes takes its actors along.
    """
    loop, task, asked = asyncio.get_running_loop(), asyncio.current_task(), asyncio.Event()
    assert task is not None

    def tell() -> None:
        say(f"asked to end (SIGTERM): the running update has {seconds:g} s to finish; {go_on} goes on afterwards")
        asked.set()
        loop.call_later(seconds, task.cancel)
        _end_for_certain(seconds + _CLOSING_S)

    def hear() -> None:
        loop.call_soon_threadsafe(tell)

    with termination.telling(hear), _awake(loop, termination):
        try:
            yield asked
        except (asyncio.CancelledError, RoleError) as error:
            if asked.is_set():
                raise Terminated from error
            raise


@contextmanager
def finishing(seconds: float, go_on: str, termination: Termination = _TERMINATION) -> Iterator[threading.Event]:
    """The same for a block without a loop: a request sets the event, and the block should then end.

    The process ends when it has not ended after `seconds`. `go_on` says what continues afterwards.
    """
    asked = threading.Event()

    def tell() -> None:
        say(f"asked to end (SIGTERM): the running step has {seconds:g} s to finish; {go_on} goes on afterwards")
        asked.set()
        _end_for_certain(seconds + _CLOSING_S)

    with termination.telling(tell):
        yield asked


def _end_for_certain(seconds: float) -> None:
    """End this process after so long: where Ray's own processes got the signal too, closing waits for them for ever."""

    def end() -> None:
        farewell()
        os._exit(_STATUS)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()


@contextmanager
def _awake(loop: asyncio.AbstractEventLoop, termination: Termination) -> Iterator[None]:
    """Have SIGTERM wake a loop of the main thread, also when another thread of the process gets the signal."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    loop.add_signal_handler(signal.SIGTERM, termination.request)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
        signal.signal(signal.SIGTERM, before)
