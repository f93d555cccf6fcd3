"""Ending processes of actors at chosen moments of a run that this process drives."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from actors.cluster.cast import Cast
from pipelines.alignment.loop import Step
from pipelines.alignment.watching import Watch
from pipelines.config.run import RunConfig
from pipelines.output.metrics_log import MetricsLog
from tests.patience import patient

Report = Callable[[str, object], None]  # pytest's `record_property`

HELD_S = 1.0  # how long a process is kept from answering, so that a call of the driver is waiting for it when it dies


@dataclass(frozen=True)
class Kill:
    """Kill a replica of `role` after step `step`: idle, or stopped first and killed when a call waits for it.

    `hung` stops it and leaves it so.
    """

    step: int
    role: str
    when: Literal["idle", "busy", "hung"]


def watch(cast: Cast, kills: Sequence[Kill]) -> Watch:
    """Ends what `kills` say while the run goes on."""

    def observe(step: Step) -> None:
        for kill in kills:
            if kill.step == step.state.step:
                end(pid_of(cast, kill.role), kill.when)

    return Watch(None, observe)


def pid_of(cast: Cast, role: str, replica: int = 0) -> int:
    pid: int = cast.places()[role, replica]["pid"]
    return pid


def end(pid: int, when: Literal["idle", "busy", "hung"]) -> None:
    if when == "idle":
        os.kill(pid, signal.SIGKILL)
        return
    os.kill(pid, signal.SIGSTOP)
    if when == "busy":
        later(HELD_S, lambda: os.kill(pid, signal.SIGKILL))


def later(seconds: float, act: Callable[[], None]) -> None:
    timer = threading.Timer(seconds, act)
    timer.daemon = True
    timer.start()


def is_alive(pid: int) -> bool:
    """Whether the process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def pids_of_session(session: int) -> list[int]:
    """Processes that still belong to a session, Ray's daemons and workers among them."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(ProcessLookupError):
            if os.getsid(int(entry.name)) == session:
                found.append(int(entry.name))
    return found


def survivors_of(pid: int) -> list[int]:
    """The processes that outlive this one by some seconds."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(FileNotFoundError, ProcessLookupError):
            words = (entry / "cmdline").read_bytes().split(b"\0")
            if any(word.endswith(b"/survivor.py") for word in words) and str(pid).encode() in words:
                found.append(int(entry.name))
    return found


def report_recoveries(config: RunConfig, report: Report) -> None:
    """Hand the seconds of a run's restarts to pytest's report (`record_property`), for the page of faults."""
    faults = MetricsLog(config.folder / "faults.jsonl").read()
    report("recovery_s", json.dumps([fault["recovery_s"] for fault in faults if fault["restarted"]]))


def wait_until_gone(pids: Sequence[int], limit_s: float) -> None:
    """Wait for `limit_s` at most, and longer on a machine whose processes wait for cores."""
    deadline = time.monotonic() + patient(limit_s)
    while any(is_alive(pid) for pid in pids):
        assert time.monotonic() < deadline, f"{[pid for pid in pids if is_alive(pid)]} live on"
        time.sleep(0.05)
