"""The process that outlives a command, tried on processes that append to files as Ray's do."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipelines.run import survivor

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc says what a process has open")

OPENS = "import sys, time; file = open(sys.argv[1], sys.argv[2]); print('open', flush=True); time.sleep(60)"
Start = Callable[[Path, str], "subprocess.Popen[str]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a process that has a file open in a mode; all go at the end."""
    started = []

    def start(file: Path, mode: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-S", "-c", OPENS, str(file), mode], stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_BY_ITSELF_S", "_AFTER_SIGTERM_S", "_STEP_S"):
        monkeypatch.setattr(survivor, name, 0.05)


def test_what_appends_to_logs_is_ended_also_stopped_and_nobody_else_is(tmp_path: Path, start: Start) -> None:
    logs, others = tmp_path / "logs", tmp_path / "logs-of-another"
    logs.mkdir()
    others.mkdir()
    agent, stopped = start(logs / "dashboard_agent.log", "a"), start(logs / "worker-1.out", "a")
    stopped.send_signal(signal.SIGSTOP)
    kept = [
        start(others / "dashboard_agent.log", "a"),  # another Ray on this machine
        start(logs / "dashboard_agent.log", "r"),  # somebody reads along
        start(logs / ".dashboard_agent.log.swp", "w"),  # an editor
        start(logs / "python-core-driver-1.log", "a"),  # the program of another terminal that has joined
    ]
    survivor.end_processes_of(str(logs))
    assert (agent.wait(5.0), stopped.wait(5.0)) == (-signal.SIGTERM, -signal.SIGKILL)
    assert [process.poll() for process in kept] == [None] * len(kept)
    assert survivor.processes_of(str(logs)) == []


COMMAND = """
import os, sys, time
from pipelines.run.last_words import last_words, survived
with last_words("this goes on"), survived(logs="", head=sys.argv[1]):
    if os.fork() == 0:  # a process of the command's own has the pipe open too
        os.close(2)
        time.sleep(3.0)
        os._exit(0)
    if sys.argv[2]:
        os.kill(os.getpid(), int(sys.argv[2]))
"""


@pytest.mark.parametrize(
    ("head", "number", "said"),
    [
        ("", "", ""),
        ("", "9", "error: the command ended without a word, as when it is killed or memory runs out: this goes on\n"),
        (
            "127.0.0.1:1",
            "9",
            "error: the head of the Ray cluster at 127.0.0.1:1 does not answer, and Ray ended the command: "
            "this goes on\n",
        ),
    ],
)
def test_a_command_that_is_killed_is_spoken_for(head: str, number: str, said: str) -> None:
    command = [sys.executable, "-c", COMMAND, head, number]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=30.0, check=False)
    assert done.stderr == said
