"""What is said for a command that can say nothing any more, and the process that outlives it (`survivor.py`).

Whoever does what can be continued gives its `last_words` while it does it. The Ray session of the command starts the
survivor, which is told of every change.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from pipelines.run import survivor

_CLOSING_S = 10.0  # longer than a survivor takes


class Survivor:
    """A started survivor of this process."""

    def __init__(self, logs: str, head: str) -> None:
        """`logs` is the folder of logs of a Ray that this process started, `head` the address of one that it joined."""
        command = [sys.executable, "-I", "-S", survivor.__file__, str(os.getpid()), logs, head]
        # A session of its own: Ctrl-C, and kill -9 of the command's group, are not for it.
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, cwd="/", start_new_session=True
        )

    def tell(self, text: str) -> None:
        """Tell it how to go on."""
        self._write(f"say {' '.join(text.split())}\n")

    def bye(self) -> None:
        """Tell it that this process closes by itself, and leaves it to clear up."""
        self._write("bye\n")

    def close(self) -> None:
        """Have it clear up, and wait until it has."""
        self.bye()
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_CLOSING_S)

    def _write(self, line: str) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # somebody has killed it
            self._process.stdin.write(line.encode())
            self._process.stdin.flush()


_lock = threading.RLock()
_words: list[str] = []
_survivors: list[Survivor] = []


@contextmanager
def last_words(text: str) -> Iterator[None]:
    """Have it said how to go on, should the process end without a word while the block runs."""
    with _lock:
        _words.append(text)
        _tell()
    try:
        yield
    finally:
        with _lock:
            _words.remove(text)
            _tell()


def how_to_go_on() -> str:
    """What is to be said now: the words of all that is going on."""
    with _lock:
        return "; ".join(dict.fromkeys(_words)) or "run it again"


@contextmanager
def survived(*, logs: str, head: str) -> Iterator[None]:
    """Have a process outlive this one if it ends in the block, and clear up after it. On Linux, elsewhere nothing."""
    if sys.platform != "linux":
        yield
        return
    started = Survivor(logs, head)
    with _lock:
        _survivors.append(started)
        _tell()
    try:
        yield
    finally:
        with _lock:
            _survivors.remove(started)
        started.close()


def farewell() -> None:
    """Tell the survivors that what is to be said has been said."""
    with _lock:
        for started in _survivors:
            started.bye()


def _tell() -> None:
    for started in _survivors:
        started.tell(how_to_go_on())
