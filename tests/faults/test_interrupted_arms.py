"""Ctrl-C while the arms of a comparison run: it ends at once, and not when the arms are through."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.faults.arms_driver import arms
from tests.patience import patient
from tests.pipelines.tiny_run import make_base

pytestmark = pytest.mark.faults

START_LIMIT_S = 900.0
END_LIMIT_S = 30.0  # where every process finds a core


def test_ctrl_c_ends_the_arms_that_run(tmp_path: Path) -> None:
    make_base(tmp_path)
    logs = [arm.config.folder / "metrics.jsonl" for arm in arms(tmp_path)]
    command = [sys.executable, "-m", "tests.faults.arms_driver", str(tmp_path)]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, preexec_fn=_hear_ctrl_c)
        try:
            deadline = time.monotonic() + START_LIMIT_S
            while not all(path.exists() and path.stat().st_size for path in logs):
                assert process.poll() is None, (tmp_path / "log").read_text()[-3000:]
                assert time.monotonic() < deadline, "the arms did not start"
                time.sleep(0.05)
            process.send_signal(signal.SIGINT)
            process.wait(patient(END_LIMIT_S))
        finally:
            process.kill()
    assert process.returncode == -signal.SIGINT, (tmp_path / "log").read_text()[-3000:]


def _hear_ctrl_c() -> None:
    """A test run in the background has Ctrl-C switched off, and so would have what it starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
