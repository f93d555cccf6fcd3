"""kill -9 of `allgood score` while it scores, then the same command again: finished parts stay, the rest follows."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipelines.config.loading import save_config
from tests.pipelines import tiny_rewards
from tests.pipelines.tiny_run import make_base, tiny_config

pytestmark = pytest.mark.faults

NUM_PROMPTS, NUM_ANSWERS = 192, 8
NUM_PARTS = 6  # of 256 responses
LIMIT_S = 900.0


def test_a_killed_scoring_goes_on_where_it_was(tmp_path: Path) -> None:
    make_base(tmp_path)
    slow = {"kind": "function", "function": "tests.pipelines.tiny_rewards:slow_short", "placement": {"cpus": 0.1}}
    save_config(tiny_config(tmp_path, properties={"short": slow}), tmp_path / "run.yaml")
    source = tmp_path / "answers.jsonl"
    answers = ["word " * (1 + index) for index in range(NUM_ANSWERS)]
    rows = [{"prompt": f"Question {index}?", "responses": answers} for index in range(NUM_PROMPTS)]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    output = tmp_path / "scored.parquet"
    command = [sys.executable, "-m", "allgood", "score", str(tmp_path / "run.yaml")]
    command += ["--input", str(source), "--output", str(output)]
    parts = tmp_path / "scored.parquet.parts"

    first = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until_parts(parts, 3, first)
    os.kill(first.pid, signal.SIGKILL)
    first.wait(timeout=60)
    kept = {path.name: path.stat().st_mtime_ns for path in parts.glob("part-*.parquet")}
    assert 3 <= len(kept) < NUM_PARTS
    assert not output.exists()

    second = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    times: dict[str, int] = {}
    while second.poll() is None:  # the parts go when the output is written
        times |= {path.name: mtime for path in parts.glob("part-*.parquet") if (mtime := modified(path)) is not None}
        time.sleep(0.05)
    shown, errors = second.communicate(timeout=LIMIT_S)
    assert second.returncode == 0, errors
    assert f"{len(kept)} of {NUM_PARTS} parts are scored already" in shown
    assert {name: times[name] for name in kept} == kept
    table = pq.read_table(output)
    assert table.num_rows == NUM_PROMPTS * NUM_ANSWERS
    expected = tiny_rewards.short(table["prompt"].to_pylist(), table["response"].to_pylist())
    np.testing.assert_allclose(table["reward.short"].to_numpy(), expected, rtol=1e-6)


def modified(path: Path) -> int | None:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return None


def wait_until_parts(folder: Path, number: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while len(list(folder.glob("part-*.parquet"))) < number:
        assert process.poll() is None, "the scoring ended before it could be killed"
        assert time.monotonic() < deadline, "no part was scored in time"
        time.sleep(0.02)
