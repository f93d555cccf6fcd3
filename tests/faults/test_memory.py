"""Memory runs out on the node, and Ray's monitor kills actors: a private Ray with a low threshold, a real shortage."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.output.metrics_log import MetricsLog
from tests.faults.kills import Report, report_recoveries
from tests.faults.memory_driver import SHORT, SPARE_BYTES, WHOLE, memory_bytes
from tests.pipelines.tiny_run import assert_same_run, make_base, tiny_config

pytestmark = [pytest.mark.faults, pytest.mark.alone]


def test_actors_that_ray_kills_for_memory_are_replaced_and_the_run_ends(
    tmp_path: Path, record_property: Report
) -> None:
    if memory_bytes("MemAvailable") < 1.5 * SPARE_BYTES:
        pytest.skip("too little memory is free to make it short without harm to others")
    make_base(tmp_path)
    command = [sys.executable, "-m", "tests.faults.memory_driver", str(tmp_path)]
    driver = subprocess.run(command, env=os.environ, capture_output=True, text=True, check=False, timeout=900)
    assert driver.returncode == 0, driver.stderr[-3000:]
    assert "killed for memory" in driver.stdout
    whole, short = (tiny_config(tmp_path, name) for name in (WHOLE, SHORT))
    faults = MetricsLog(short.folder / "faults.jsonl").read()
    assert any(row["restarted"] for row in faults)
    assert any("memory" in row["reason"] for row in faults), faults
    assert_same_run(short, whole)
    report_recoveries(short, record_property)
