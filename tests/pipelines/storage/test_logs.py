"""Logs as segments: put together again they are what the run had logged at that checkpoint, whatever was redone."""

from __future__ import annotations

import json
import tempfile
import uuid
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.output.metrics_log import MetricsLog
from pipelines.run.folder import RunFolder
from pipelines.storage.files import DamagedError
from pipelines.storage.logs import Logs, fetch_logs, keep_logs, last_step, segment_names
from pipelines.storage.place import Place, open_place


def run_folder(path: Path) -> RunFolder:
    path.mkdir(parents=True, exist_ok=True)
    return RunFolder(path)


def log(folder: RunFolder, *steps: int, take: int = 1) -> None:
    for step in steps:
        MetricsLog(folder.metrics).append({"step": step, "take": take})


def steps_and_takes(folder: RunFolder) -> list[tuple[int, int]]:
    return [(row["step"], row["take"]) for row in MetricsLog(folder.metrics).read()]


def test_segments_hold_the_rows_between_checkpoints(memory: Place, tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "here")
    log(folder, 1, 2)
    logs = keep_logs(memory, folder, {}, step=2)
    log(folder, 3, 4, 5)
    logs = keep_logs(memory, folder, logs, step=4)
    first, second = logs["metrics"]
    assert first["name"].startswith("logs/metrics-000001-000002-")
    assert second["name"].startswith("logs/metrics-000003-000004-")
    assert memory.read(second["name"]) == b'{"step": 3, "take": 1}\n{"step": 4, "take": 1}\n'
    assert last_step(logs) == 4
    assert segment_names([logs]) == set(memory.names())


def test_rows_that_were_computed_again_take_the_place_of_the_old_ones(memory: Place, tmp_path: Path) -> None:
    folder, there = run_folder(tmp_path / "here"), run_folder(tmp_path / "there")
    log(folder, 1, 2)
    at_2 = keep_logs(memory, folder, {}, step=2)
    log(folder, 3, 4)
    keep_logs(memory, folder, at_2, step=4)
    MetricsLog(folder.metrics).cut_after(2)
    log(folder, 3, take=2)
    fetch_logs(memory, there, keep_logs(memory, folder, at_2, step=3))
    assert steps_and_takes(there) == [(1, 1), (2, 1), (3, 2)]


@settings(max_examples=15)
@given(st.lists(st.tuples(st.integers(1, 3), st.integers(0, 9)), min_size=1, max_size=8))
def test_any_history_of_commits_and_returns_gives_back_what_was_logged(moves: list[tuple[int, int]]) -> None:
    """Each move goes back to one of the checkpoints so far (or to the beginning), and takes some steps to the next."""
    memory = open_place(f"memory://{uuid.uuid4().hex}")
    with tempfile.TemporaryDirectory() as temporary:
        folder, there = (run_folder(Path(temporary) / name) for name in ("here", "there"))
        checkpoints: dict[int, Logs] = {0: {}}
        for take, (num_steps, back) in enumerate(moves):
            step = sorted(checkpoints)[back % len(checkpoints)]
            MetricsLog(folder.metrics).cut_after(step)
            log(folder, *range(step + 1, step + num_steps + 1), take=take)
            logs = keep_logs(memory, folder, checkpoints[step], step=step + num_steps)
            checkpoints = {earlier: kept for earlier, kept in checkpoints.items() if earlier <= step}
            checkpoints[step + num_steps] = logs
            fetch_logs(memory, there, logs)
            assert steps_and_takes(there) == steps_and_takes(folder)


def test_the_other_logs_come_back_too(memory: Place, tmp_path: Path) -> None:
    folder, there = run_folder(tmp_path / "here"), run_folder(tmp_path / "there")
    there.samples.write_bytes(b"of an earlier time")
    first = pa.table({"step": [2, 2], "response": ["a", "b"]})
    pq.write_table(first, folder.samples)
    folder.faults.write_text('{"role": "rollout"}\n')
    folder.groups.write_text('{"step": 1}\n{"step": 2}\n')
    logs = keep_logs(memory, folder, {}, step=2)
    both = pa.concat_tables([first, pa.table({"step": [4], "response": ["c"]})])
    pq.write_table(both, folder.samples)
    with folder.faults.open("a") as file:
        file.write('{"role": "learner"}\n{"torn')
    logs = keep_logs(memory, folder, logs, step=4)
    fetch_logs(memory, there, logs)
    assert pq.read_table(there.samples).equals(both)
    assert [json.loads(line)["role"] for line in there.faults.read_text().splitlines()] == ["rollout", "learner"]
    assert there.groups.read_bytes() == folder.groups.read_bytes()
    assert not there.metrics.exists()


def test_a_damaged_segment_is_named(memory: Place, tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "here")
    log(folder, 1)
    logs = keep_logs(memory, folder, {}, step=1)
    (name,) = segment_names([logs])
    memory.write(name, b'{"step": 1, "take": 9}\n')
    with pytest.raises(DamagedError, match=f"{name} is damaged"):
        fetch_logs(memory, run_folder(tmp_path / "there"), logs)
