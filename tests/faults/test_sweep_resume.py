"""kill -9 of a sweep's process: --resume repeats no finished trial and continues the interrupted one bitwise."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from actors.cluster.cast import Cast
from pipelines.alignment.align import run_align
from pipelines.cast.faults import OPS
from pipelines.config.loading import load_config
from pipelines.sweep.run import run_sweep
from tests.faults.drivers import num_steps
from tests.faults.sweep_driver import killed_sweep, long_base
from tests.pipelines.tiny_run import make_base

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1800)]

START_LIMIT_S = 900.0


def run_until_second_trial_has_checkpoints(folder: Path) -> None:
    sweep = killed_sweep(folder)
    with (folder / "sweep.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.sweep_driver", str(folder)], stdout=log, stderr=log
        )
        deadline = time.monotonic() + START_LIMIT_S
        while process.poll() is None and time.monotonic() < deadline:
            trials = list((sweep.folder / "trials").glob("*"))
            finished = [trial for trial in trials if (trial / "result.json").is_file()]
            running = [trial for trial in trials if trial not in finished and num_steps(trial) >= 5]
            if finished and running:
                break
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        process.wait(timeout=60.0)
    assert process.returncode == -signal.SIGKILL, (folder / "sweep.log").read_text()[-3000:]


def test_a_killed_sweep_goes_on_where_it_was(tmp_path: Path, tiny_cast: Cast) -> None:
    make_base(tmp_path)
    run_until_second_trial_has_checkpoints(tmp_path)
    sweep = killed_sweep(tmp_path)
    [first] = [path.parent for path in (sweep.folder / "trials").glob("*/result.json")]
    [second] = {path.parents[1] for path in (sweep.folder / "trials").glob("*/checkpoints/step_*")}
    before = {path: path.read_bytes() for path in (first / "result.json", first / "metrics.jsonl")}
    summary = run_sweep(sweep, long_base(tmp_path), source_name="killed.yaml", resume=True)
    assert summary["trials"] == {"finished": 3}
    assert all(path.read_bytes() == content for path, content in before.items())
    assert "continuing" in (second / "log.txt").read_text()
    assert_same_as_alone(second, tmp_path, tiny_cast)


def assert_same_as_alone(trial: Path, folder: Path, cast: Cast, **changes: Any) -> None:
    config = load_config(trial / "config.yaml").model_copy(update={"output_dir": folder / "alone", **changes})
    run_align(config, cast)
    ours, alone = (load_file(run / "model" / "model.safetensors") for run in (trial, config.folder))
    assert all(torch.equal(value, alone[name]) for name, value in ours.items())
    assert rows(trial) == rows(config.folder)


def rows(folder: Path) -> list[dict[str, Any]]:
    logged = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    ignored = ("second", "win_rate", OPS)
    return [{name: v for name, v in row.items() if not any(part in name for part in ignored)} for row in logged]
