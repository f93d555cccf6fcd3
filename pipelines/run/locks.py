"""Who may write where: one process at a time in a run folder, and one that makes what others build on.

A run folder has three locks. `.run.lock` is for the results of the run itself (alignment, evaluation). `.pages.lock` is
for what is written of it at any time (report, preview, best-of-k). `.base.lock` is for what a base gives to others
(world, data, models, references): whoever makes it has it alone, and any number of runs read at once.

A process that holds a lock may take it again, so that stages of a chain do not wait for their own chain. The system
frees a lock when its process ends, however that ends.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from allgood.errors import InUseError
from pipelines.output.files import disk_errors

RUN_LOCK, PAGES_LOCK, BASE_LOCK = ".run.lock", ".pages.lock", ".base.lock"


@dataclass
class _Held:
    """A lock of this process, and how many blocks of code rely on it."""

    file: IO[str] | None  # None: of a folder that cannot be locked, since nobody here may write into it
    alone: bool
    count: int = 1


_held: dict[Path, _Held] = {}
_guard = threading.Lock()


@contextmanager
def writing_results(folder: Path, what: str) -> Iterator[None]:
    """Have the results of the run in `folder` for this process alone. `what` names the command.

    Raises:
        InUseError: Another process has them; says which command, process and machine.
    """
    with _locked(folder / RUN_LOCK, what, alone=True):
        yield


@contextmanager
def writing_pages(folder: Path, what: str) -> Iterator[None]:
    """Be the only one who writes about the run in `folder`, which may go on meanwhile.

    Raises:
        InUseError: Another process does.
    """
    with _locked(folder / PAGES_LOCK, what, alone=True):
        yield


@contextmanager
def making_base(folder: Path, what: str) -> Iterator[None]:
    """Have what `folder` gives to others for this process alone.

    Raises:
        InUseError: Another process makes it, or runs read it; says which.
    """
    with _locked(folder / BASE_LOCK, what, alone=True):
        yield


@contextmanager
def reading_base(folder: Path, what: str) -> Iterator[None]:
    """Read what `folder` gives, alongside others that read it.

    Raises:
        InUseError: Another process makes it anew; says which.
    """
    with _locked(folder / BASE_LOCK, what, alone=False):
        yield


@contextmanager
def _locked(path: Path, what: str, *, alone: bool) -> Iterator[None]:
    key = path.resolve()
    with _guard:
        held = _held.get(key)
        if held is not None and (held.alone or not alone):
            held.count += 1
        else:
            held = _Held(_taken(path, what, alone=alone), alone)
            _held[key] = held
    try:
        yield
    finally:
        with _guard:
            held.count -= 1
            if held.count == 0:
                del _held[key]
                _free(held)


def _taken(path: Path, what: str, *, alone: bool) -> IO[str] | None:
    file = _opened(path) if alone else _opened_for_reading(path)
    if file is None:
        return None
    try:
        fcntl.flock(file, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise InUseError(_refusal(path, file, what)) from error
    if file.writable():
        file.truncate(0)  # what a holder has left that was killed
    if alone:
        json.dump({"what": what, "pid": os.getpid(), "host": socket.gethostname(), "since": time.time()}, file)
        file.flush()
    return file


def _opened(path: Path) -> IO[str]:
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("a+", encoding="utf-8")


def _opened_for_reading(path: Path) -> IO[str] | None:
    """The lock file of a folder that may belong to somebody else; None where there is no lock and can be none."""
    for mode in ("a+", "r"):
        with suppress(OSError):
            return path.open(mode, encoding="utf-8")
    return None


def _free(held: _Held) -> None:
    if held.file is None:
        return
    if held.alone:
        held.file.truncate(0)
    held.file.close()


def _refusal(path: Path, file: IO[str], what: str) -> str:
    folder = path.parent
    file.seek(0)
    text = file.read()
    file.close()
    if not text:
        return (
            f"{folder} is being read by other processes, whose runs build on it; wait for them before `allgood {what}` "
            "changes it"
        )
    holder = json.loads(text)
    since = time.strftime("%Y-%m-%d %H:%M", time.localtime(holder["since"]))
    return (
        f"{folder} is in use: `allgood {holder['what']}` runs there since {since} (process {holder['pid']} on "
        f"{holder['host']}); wait for it, or end it, before `allgood {what}`"
    )
