"""Progress: bars on a terminal, plain lines elsewhere, never both."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import threading

import pytest

from pipelines.output.progress import PLAIN_INTERVAL_S, PlainBar, track

SCRIPT = """
from pipelines.output.progress import say, track
with track("outer", 2) as outer:
    with track("inner", 3) as inner:
        inner.advance(3, status="loss 0.5")
    say("[bold]a line[/bold]")
    outer.advance(2)
"""


class Clock:
    """Seconds that a test moves by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_plain_lines_come_at_most_once_per_interval() -> None:
    lines: list[str] = []
    clock = Clock()
    bar = PlainBar("train", 10, write=lines.append, clock=clock)
    for _ in range(4):
        clock.now += PLAIN_INTERVAL_S * 0.6
        bar.advance(status="loss 1")
    bar.finish()
    assert lines == [
        "train: 2/10 (20 %), 6.0 s, loss 1",
        "train: 4/10 (40 %), 12.0 s, loss 1",
        "train: 4/10 (40 %), 12.0 s, loss 1",
    ]


def test_an_unknown_total_shows_the_count_only() -> None:
    lines: list[str] = []
    bar = PlainBar("read", None, write=lines.append, clock=Clock())
    bar.advance(7)
    bar.finish()
    assert lines == ["read: 7, 0.0 s"]


def test_without_a_terminal_there_are_plain_lines_and_no_control_codes() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert [line.split(",")[0] for line in done.stderr.splitlines()] == ["inner: 3/3 (100 %)", "outer: 2/2 (100 %)"]
    assert done.stdout == "[bold]a line[/bold]\n"


def test_on_a_terminal_there_are_bars_and_no_plain_lines() -> None:
    output = run_on_terminal(SCRIPT)
    assert "━" in output
    assert "3/3" in output
    assert "[bold]a line[/bold]" in output
    assert "(100 %)" not in output


def test_a_failure_inside_leaves_no_closing_line(capsys: pytest.CaptureFixture[str]) -> None:
    def fail_half_way() -> None:
        with track("train", 2) as bar:
            bar.advance()
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail_half_way()
    assert capsys.readouterr().err == ""


def test_bars_of_several_threads_share_the_display() -> None:
    script = """
import threading
from pipelines.output.progress import track
def work(name):
    with track(name, 50) as bar:
        for _ in range(50): bar.advance()
threads = [threading.Thread(target=work, args=(f"arm{i}",)) for i in range(3)]
[thread.start() for thread in threads]; [thread.join() for thread in threads]
"""
    output = run_on_terminal(script)
    assert all(f"arm{i}" in output for i in range(3))
    assert "Traceback" not in output


def run_on_terminal(script: str) -> str:
    """What a process prints whose standard streams are a terminal."""
    leader, follower = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "120"}
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdin=follower, stdout=follower, stderr=follower, env=environment
    )
    os.close(follower)
    chunks: list[bytes] = []
    reader = threading.Thread(target=_read_all, args=(leader, chunks))
    reader.start()
    assert process.wait(timeout=60) == 0
    reader.join(timeout=10)
    os.close(leader)
    return b"".join(chunks).decode(errors="replace")


def _read_all(descriptor: int, chunks: list[bytes]) -> None:
    while True:
        try:
            chunk = os.read(descriptor, 65536)
        except OSError:  # the other end of a terminal closes with an error on Linux
            return
        if not chunk:
            return
        chunks.append(chunk)
