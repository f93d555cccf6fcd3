"""Kills processes of a run from within its driver, and writes down each kill before it happens.

A kill that was written down is not made again, so that a resumed run goes on with those that are left.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict

from actors.cluster.cast import Cast
from experiments.chaos.kills import DRIVER, Kill
from pipelines.alignment.loop import Step
from pipelines.output.metrics_log import MetricsLog
from tests.faults.kills import is_alive

STEP = "step"
LEAST_STOOD_S = 1.0
STOOD_STEPS = 3.0
"""A victim counts as busy when the run has stood still for so many usual steps, and so long, since it was stopped."""


class Killer:
    """Told of every finished step, carries out the kills that are due. `log` also has the time of every step."""

    def __init__(self, cast: Cast, kills: Sequence[Kill], log: MetricsLog) -> None:
        self._cast, self._log = cast, log
        done = {row["kill"] for row in log.read() if "kill" in row}
        self._due = {kill.step: (number, kill) for number, kill in enumerate(kills) if number not in done}
        self._last, self._usual_s = time.monotonic(), 1.0

    def observe(self, step: Step) -> None:
        """Note the step, and kill whom it is time for."""
        now = time.monotonic()
        self._usual_s, self._last = now - self._last, now
        self._log.append({"finished": step.state.step, "time": time.time(), "driver": os.getpid()})
        if step.state.step in self._due:
            self._begin(*self._due.pop(step.state.step))

    def _begin(self, number: int, kill: Kill) -> None:
        pid = os.getpid() if kill.role == DRIVER else int(self._cast.place(kill.role, kill.replica)["pid"])
        if kill.when == "idle":
            self._kill(number, kill, pid)
            return
        act = self._stop_then_kill if kill.when == "busy" else self._kill
        timer = threading.Timer(kill.moment * self._usual_s, act, (number, kill, pid))
        timer.daemon = True
        timer.start()

    def _stop_then_kill(self, number: int, kill: Kill, pid: int) -> None:
        os.kill(pid, signal.SIGSTOP)
        stopped = time.monotonic()
        needed = max(LEAST_STOOD_S, STOOD_STEPS * self._usual_s)
        while (stood := time.monotonic() - max(stopped, self._last)) < needed:
            time.sleep(0.02)
        self._kill(number, kill, pid, stood_s=stood)

    def _kill(self, number: int, kill: Kill, pid: int, stood_s: float | None = None) -> None:
        stood = {} if stood_s is None else {"stood_s": round(stood_s, 3), "usual_step_s": round(self._usual_s, 3)}
        row = {"kill": number, **asdict(kill), **stood, "pid": pid, "alive": is_alive(pid), "time": time.time()}
        self._log.append(row)
        os.kill(pid, signal.SIGKILL)
