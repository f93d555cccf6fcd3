"""Progress and tracking of trainings, wherever they run: the driver reads what each appends to its files.

A training may run in this process, in a Ray task or on Ray Train's workers; its first line in metrics.jsonl says how
many steps it will take, and every further line is a step, also one that an earlier try has made. A line of
faults.jsonl is said. Where workers write to a disk that this machine does not see, the bar stays at zero and nothing is
tracked.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.output.progress import Bar, say, track

_POLL_S = 0.5

Observe = Callable[[Mapping[str, Any]], None]
"""Is told every step of a training as it appears: the row of metrics.jsonl. It must not raise."""


def nobody(row: Mapping[str, Any]) -> None:
    """Observes nothing."""


@dataclass(frozen=True)
class Followed:
    """A training's files, and who else wants to know of its steps. No file may be of an earlier training."""

    metrics: Path
    faults: Path
    observe: Observe = nobody


@contextmanager
def following(trainings: Mapping[str, Followed]) -> Iterator[None]:
    """Show one bar per training, by name, while the block runs."""
    stop = threading.Event()
    with ExitStack() as stack:
        followers = [Follower(name, training, stack) for name, training in trainings.items()]
        thread = threading.Thread(target=_poll, args=(followers, stop), name="progress", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
            for follower in followers:
                follower.read()


def _poll(followers: list[Follower], stop: threading.Event) -> None:
    while not stop.wait(_POLL_S):
        for follower in followers:
            follower.read()


class Follower:
    """One training's bar; it appears with the first line of the metrics file."""

    def __init__(self, name: str, training: Followed, stack: ExitStack) -> None:
        self._name, self._stack, self._observe = name, stack, training.observe
        self._metrics, self._faults = _Growing(training.metrics), _Growing(training.faults)
        self._bar: Bar | None = None
        self._validation = ""

    def read(self) -> None:
        """Take in the lines that are new and complete."""
        for fault in self._faults.new_rows():
            say(fault["reason"])
        self._show(self._metrics.new_rows())

    def _show(self, rows: list[dict[str, Any]]) -> None:
        if rows and self._bar is None:
            self._bar = self._stack.enter_context(track(self._name, rows[0]["num_steps"]))
            rows = rows[1:]
        if not rows or self._bar is None:
            return
        for row in rows:
            self._observe(row)
            if "validation_loss" in row:
                self._validation = (
                    f", validation {row['validation_loss']:.3f} ({100 * row['validation_accuracy']:.1f} % right)"
                )
        self._bar.advance(len(rows), f"loss {rows[-1]['loss']:.3f}{self._validation}")


class _Growing:
    """A file of JSON lines that another process appends to."""

    def __init__(self, path: Path) -> None:
        self._path, self._offset = path, 0

    def new_rows(self) -> list[dict[str, Any]]:
        """The lines that were completed since the last time."""
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._offset)
            lines = file.read().split(b"\n")[:-1]  # what follows the last newline is still being written
        self._offset += sum(len(line) + 1 for line in lines)
        return [json.loads(line) for line in lines]
