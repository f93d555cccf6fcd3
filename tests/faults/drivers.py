"""Runs in processes of their own that get a signal at a chosen moment, and what they leave."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from pipelines.config.run import RunConfig
from tests.faults.align_driver import long_config
from tests.faults.kills import pids_of_session, survivors_of, wait_until_gone

START_LIMIT_S = 900.0  # a busy machine starts six processes slowly
ORPHAN_LIMIT_S = 10.0


def killed_run(
    folder: Path,
    name: str,
    moment: Callable[[RunConfig], bool],
    *,
    staleness: int = 0,
    address: str | None = None,
    by: signal.Signals = signal.SIGKILL,
    whole_group: bool = False,
    statuses: tuple[int, ...] = (),
) -> RunConfig:
    """Start a run in a process of its own and send it a signal as soon as `moment` says so.

    It joins the Ray cluster at `address`, or starts its own. `statuses` are those it may exit with; none: it ends by
    the signal.
    """
    config = long_config(folder, name, staleness)
    environment = os.environ | ({} if address is None else {"RAY_ADDRESS": address})
    command = [sys.executable, "-m", "tests.faults.align_driver", str(folder), name, str(staleness)]
    with (folder / f"{name}.log").open("w") as log:
        process = subprocess.Popen(
            command, env=environment, stdout=log, stderr=log, preexec_fn=_hear_ctrl_c, start_new_session=True
        )
        for _ in watch(process):
            if moment(config):
                break
        (os.killpg if whole_group else os.kill)(process.pid, by)
        process.wait(timeout=240.0)
    assert process.returncode in (statuses or (-by,)), (folder / f"{name}.log").read_text()[-3000:]
    wait_until_gone([*pids_of_session(process.pid), *survivors_of(process.pid)], limit_s=ORPHAN_LIMIT_S)
    return config


def _hear_ctrl_c() -> None:
    """A test run in the background has Ctrl-C switched off, and so would have what it starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def watch(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Yield as often as possible while the process runs."""
    deadline = time.monotonic() + START_LIMIT_S
    while process.poll() is None:
        assert time.monotonic() < deadline, "the run did not get to the moment of the kill"
        yield
        time.sleep(0.0005)


def pids_in(log: Path) -> list[int]:
    """Processes of a run's actors, from the table of what landed where."""
    return [int(pid) for pid in re.findall(rf"{re.escape(socket.gethostname())}:(\d+)", log.read_text())]


def num_steps(folder: Path) -> int:
    """Steps that the log in a run's folder has."""
    path = folder / "metrics.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0
