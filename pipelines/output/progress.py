"""Progress of everything that takes longer than a moment: Rich bars on a terminal, plain lines elsewhere, never both.

All bars of a process share one display, so that nested and concurrent `track` calls stack instead of fighting.
`say` prints a line above the bars.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

Number = str | int | float | None

PLAIN_INTERVAL_S = 5.0
"""Shortest time between two plain lines of one bar, in seconds."""


class Bar(Protocol):
    """What `track` yields."""

    def advance(self, n: int = 1, status: str = "") -> None:
        """Count `n` more finished units; `status` is shown behind the bar."""


@contextmanager
def track(description: str, total: int | None) -> Iterator[Bar]:
    """Show progress of `total` units (None: unknown) while the block runs."""
    if _console().is_interactive:
        with _shared.bar(description, total) as bar:
            yield bar
    else:
        plain = PlainBar(description, total, write=_write_line, clock=time.monotonic)
        yield plain
        plain.finish()


def say(text: str) -> None:
    """Print a line to standard output without disturbing a bar."""
    print(text, flush=True)  # a live display passes it on above its bars


class PlainBar:
    """Lines `description: 3/10 (30 %), 12 s, status`, at most one every `PLAIN_INTERVAL_S`, and one at the end."""

    def __init__(
        self, description: str, total: int | None, *, write: Callable[[str], None], clock: Callable[[], float]
    ) -> None:
        self._description, self._total = description, total
        self._write, self._clock = write, clock
        self._done, self._status = 0, ""
        self._start = self._last = clock()

    def advance(self, n: int = 1, status: str = "") -> None:
        """Count `n` more finished units."""
        self._done += n
        self._status = status or self._status
        now = self._clock()
        if now - self._last >= PLAIN_INTERVAL_S:
            self._last = now
            self._write(self._line())

    def finish(self) -> None:
        """Write the closing line."""
        self._write(self._line())

    def _line(self) -> str:
        share = f"/{self._total} ({100 * self._done / self._total:.0f} %)" if self._total else ""
        status = f", {self._status}" if self._status else ""
        return f"{self._description}: {self._done}{share}, {self._clock() - self._start:.1f} s{status}"


class _RichBar:
    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress, self._task = progress, task

    def advance(self, n: int = 1, status: str = "") -> None:
        if status:
            self._progress.update(self._task, advance=n, status=status)
        else:
            self._progress.update(self._task, advance=n)


class _SharedDisplay:
    """One Rich display for all bars; it lives from the first bar's start to the last bar's end."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._progress: Progress | None = None
        self._num_bars = 0

    @contextmanager
    def bar(self, description: str, total: int | None) -> Iterator[Bar]:
        progress = self._enter()
        task = progress.add_task(description, total=total, status="")
        try:
            yield _RichBar(progress, task)
        finally:
            progress.stop_task(task)
            self._leave()

    def _enter(self) -> Progress:
        with self._lock:
            if self._progress is None:
                self._progress = _rich_progress()
                self._progress.start()
            self._num_bars += 1
            return self._progress

    def _leave(self) -> None:
        with self._lock:
            self._num_bars -= 1
            if self._num_bars == 0 and self._progress is not None:
                self._progress.stop()
                self._progress = None


_shared = _SharedDisplay()


def _rich_progress() -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[status]}", markup=False),
        console=_console(),
        redirect_stdout=sys.stdout.isatty(),  # else what goes to a file would appear on the terminal instead
    )


def _console() -> Console:
    # Made anew each time: standard error may have been replaced (pytest, redirection) since the last call.
    return Console(stderr=True)


def _write_line(text: str) -> None:
    _console().print(text, markup=False, highlight=False, soft_wrap=True)


def report_lines(report: Mapping[str, object], indent: str = "  ") -> Iterator[str]:
    """Single values on a line each; a group of single values on one line; lists (curves, tables) are left out."""
    for key, value in report.items():
        if isinstance(value, Mapping):
            group = {name: item for name, item in value.items() if _is_single(item)}
            if group and len(group) == len(value):
                yield f"{indent}{key}: " + ", ".join(f"{name} {_text(item)}" for name, item in group.items())
            elif value:
                yield f"{indent}{key}:"
                yield from report_lines(value, indent + "  ")
        elif _is_single(value):
            yield f"{indent}{key}: {_text(value)}"


def _is_single(value: object) -> bool:
    return value is None or isinstance(value, (str, int, float))


def _text(value: object) -> str:
    if value is None:
        return "unknown"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
