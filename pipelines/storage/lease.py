"""Who may write a run's copy: the driver that holds its newest lease.

A lease is an object `lease/000003.json` that is created where there was none of this number: so one driver only gets
it. Its holder renews it by writing it again. It has lost it once there is one of a higher number, and then writes no
checkpoint any more. The next number may be taken when the newest was given back, or was not renewed for its time:
whoever comes waits for that, because a driver that was killed cannot say so. Clocks of machines need not agree: a
wrong one makes a driver wait, or lose its lease, but never share it.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace

from allgood.errors import InUseError, StorageError
from pipelines.output.progress import say
from pipelines.storage.place import Place

LEASE_S = 30.0  # without renewal; what a resume waits at most for after the driver was killed
_FOLDER = "lease"
_READS, _PAUSE_S = 100, 0.1


@dataclass(frozen=True)
class Holder:
    """What a lease says: which command of which process has it, and until when it was there. Times are Unix seconds."""

    what: str
    process: int
    host: str
    token: str
    since: float
    renewed: float
    is_over: bool = False

    @property
    def words(self) -> str:
        """Who it is, for messages."""
        since = time.strftime("%Y-%m-%d %H:%M", time.localtime(self.since))
        return f"`allgood {self.what}` runs it since {since} (process {self.process} on {self.host})"


class Lease:
    """The lease of this process. `number` is higher than that of every driver before."""

    def __init__(self, place: Place, number: int, holder: Holder) -> None:
        self.number = number
        self._place = place
        self._holder = holder
        self._ended = threading.Event()
        self._writing = threading.Lock()  # a late renewal must not undo the end

    def check(self) -> None:
        """Ask the store whether the lease is still held; called before anything that commits.

        Raises:
            StorageError: Another driver has taken the run over.
        """
        self._check(self._place)

    def keep_renewing(self, every_s: float) -> None:
        """Renew until the end, unless it is lost; what fails is tried again the next time."""
        while not self._ended.wait(every_s):
            with self._writing, suppress(StorageError):
                if not self._ended.is_set():
                    self._renew(is_over=False)

    def end(self) -> None:
        """Give it back, as far as the store can be reached."""
        self._ended.set()
        with self._writing, suppress(StorageError):
            self._renew(is_over=True)

    def _check(self, place: Place) -> None:
        newest = _newest_number(place)
        if newest != self.number:
            holder = _read(place, newest)
            who = "its lease was deleted" if holder is None else holder.words
            raise StorageError(
                f"{self._place.url} belongs to another driver now ({who}), because this one did not renew its lease "
                "in time; nothing more is written there"
            )

    def _renew(self, *, is_over: bool) -> None:
        at_once = replace(self._place, pauses_s=())
        self._check(at_once)
        at_once.write(_name(self.number), _content(replace(self._holder, renewed=time.time(), is_over=is_over)))


@contextmanager
def leased(place: Place, what: str, *, lease_s: float = LEASE_S) -> Iterator[Lease]:
    """Have the run at `place` for this process alone. `what` names the command.

    Raises:
        InUseError: Another driver has it; says which.
        StorageError: The store does not answer.
    """
    lease = _taken(place, what, lease_s)
    threading.Thread(target=lease.keep_renewing, args=(lease_s / 3,), daemon=True).start()
    try:
        yield lease
    finally:
        lease.end()


def _taken(place: Place, what: str, lease_s: float) -> Lease:
    before, holder = _newest(place)
    if holder is not None and not _has_ended(place, before, holder, lease_s):
        raise InUseError(_refusal(place, what, _newest(place)[1] or holder))
    now = time.time()
    mine = Holder(what, os.getpid(), socket.gethostname(), uuid.uuid4().hex, since=now, renewed=now)
    number = before + 1
    if not place.create(_name(number), _content(mine)):
        there = _read(place, number)
        if there is None or there.token != mine.token:
            raise InUseError(_refusal(place, what, there))
    newest, holder = _newest(place)
    if newest != number:  # others came, went, and removed the object that would have stopped this one
        raise InUseError(_refusal(place, what, holder))
    place.delete(_older(place, number))
    return Lease(place, number, mine)


def _older(place: Place, number: int) -> list[str]:
    return [f"{_FOLDER}/{name}" for name in place.at(_FOLDER).names() if _number(name) < number]


def _has_ended(place: Place, number: int, holder: Holder, lease_s: float) -> bool:
    """Whether the newest lease was given back or is not renewed any more, which takes up to its time to see."""
    if holder.is_over or time.time() - holder.renewed > lease_s:
        return True
    say(f"{place.url}: {holder.words}; waiting up to {lease_s:.0f} s to see whether it still does")
    deadline = time.monotonic() + lease_s
    while time.monotonic() < deadline:
        time.sleep(lease_s / 20)
        newest, now = _newest(place)
        if newest != number:
            return False
        if now != holder:
            return now is not None and now.is_over
    return True


def _newest(place: Place) -> tuple[int, Holder | None]:
    """The highest number, 0 before the first, and its holder."""
    number = _newest_number(place)
    return number, _read(place, number)


def _newest_number(place: Place) -> int:
    return max((_number(name) for name in place.at(_FOLDER).names()), default=0)


def _read(place: Place, number: int) -> Holder | None:
    content = place.read(_name(number))
    for _ in range(_READS):
        if content != b"":
            break
        time.sleep(_PAUSE_S)  # a plain filesystem shows an object before its content
        content = place.read(_name(number))
    if content is None:
        return None
    try:
        return Holder(**json.loads(content))
    except (ValueError, TypeError):
        raise StorageError(
            f"{place.url}/{_name(number)} is no lease of allgood; delete it if no driver runs this run"
        ) from None


def _refusal(place: Place, what: str, holder: Holder | None) -> str:
    who = "another driver has just taken it" if holder is None else holder.words
    return f"{place.url} is in use: {who}; wait for it, or end it, before `allgood {what}`"


def _content(holder: Holder) -> bytes:
    return json.dumps(asdict(holder), indent=2).encode()


def _name(number: int) -> str:
    return f"{_FOLDER}/{number:06d}.json"


def _number(name: str) -> int:
    stem = name.removesuffix(".json")
    return int(stem) if stem.isdigit() else 0
