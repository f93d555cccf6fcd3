"""Watching the head of the Ray cluster: without it Ray ends a command from C++, after a minute and without a sentence.

A thread looks whether the head's port answers. A short outage only makes calls late, and is not mentioned; one that
lasts is. Shortly before Ray would give up, the command says how to go on and ends with the status of other errors.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from pipelines.run.last_words import farewell, how_to_go_on
from pipelines.run.survivor import answers

RAYS_PATIENCE_S = 60.0  # Ray's own value of gcs_rpc_server_reconnect_timeout_s
STATUS = 2  # as of the other errors that a user can act on

_LOOK_S, _MENTIONED_AFTER_S = 2.0, 10.0
_AHEAD_OF_RAY_S = 6.0  # Ray may have seen the loss earlier, and the next look may come some seconds later


class HeadWatch:
    """What is known of an outage of the head, and what is to be said of it."""

    def __init__(self, address: str, patience_s: float) -> None:
        self._address, self._patience_s = address, patience_s
        self._since: tuple[float, datetime] | None = None
        self._is_mentioned = False
        self.is_given_up = False

    def look(self, has_answered: bool, now: float, time_of_day: datetime) -> str | None:
        """Take note of one look, at `now` in seconds; returns a line where one is due."""
        if has_answered:
            was_mentioned = self._is_mentioned
            self._since, self._is_mentioned = None, False
            return f"the head of the Ray cluster at {self._address} answers again" if was_mentioned else None
        if self._since is None:
            self._since = now, time_of_day
        seconds, since = now - self._since[0], f"{self._since[1]:%H:%M:%S}"
        lost = f"the head of the Ray cluster at {self._address} does not answer since {since}"
        if seconds >= max(self._patience_s / 2, self._patience_s - _AHEAD_OF_RAY_S):
            self.is_given_up = True
            return f"error: {lost}, and a run cannot outlive it: {how_to_go_on()}"
        if seconds >= _MENTIONED_AFTER_S and not self._is_mentioned:
            self._is_mentioned = True
            return f"{lost}; a run waits for it for {self._patience_s:g} s"
        return None


@contextmanager
def watched_head(address: str, patience_s: float) -> Iterator[None]:
    """Watch the head at HOST:PORT while the block runs, and end the process when Ray is about to.

    One that does not answer at first cannot be watched from here, and is not.
    """
    if not answers(address):
        yield
        return
    is_over = threading.Event()
    watch = HeadWatch(address, patience_s)

    def look() -> None:
        while not is_over.wait(_LOOK_S):
            has_answered = answers(address)  # which may take seconds
            line = watch.look(has_answered, time.monotonic(), datetime.now())
            if is_over.is_set():
                return
            if line is not None:
                print(line, file=sys.stderr, flush=True)
            if watch.is_given_up:
                _end()
                return

    threading.Thread(target=look, name="head watch", daemon=True).start()
    try:
        yield
    finally:
        is_over.set()


def _end() -> None:
    """End the process, as Ray would do: closing in order would wait for the head."""
    farewell()
    os._exit(STATUS)
