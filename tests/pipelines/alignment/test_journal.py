"""The journal of a resumed run: cut back on disk, and a new W&B run that holds what is left."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.alignment.journal import AlignJournal
from pipelines.output.metrics_log import MetricsLog
from pipelines.run.folder import RunFolder
from tests.pipelines.offline_wandb import offline_runs
from tests.pipelines.tiny_run import tiny_config


def interrupted(folder: RunFolder) -> None:
    """What a run leaves that was killed after step 4 and evaluated after steps 2 and 4."""
    for step in range(1, 5):
        MetricsLog(folder.metrics).append({"step": step, "kl_k1_sum": 0.1 * step, "entropy": None})
        MetricsLog(folder.groups).append({"step": step, "trained": [f"p{step}"], "dropped": []})
    samples: list[dict[str, Any]] = [
        {"step": step, "prompt": "p", "response": f"after {step}", "kl": 0.1} for step in (2, 4)
    ]
    pq.write_table(pa.Table.from_pylist(samples), folder.samples)


def test_a_resumed_run_gets_a_new_wandb_run_filled_from_what_was_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tiny_config(tmp_path, tracking={"wandb": "offline", "group": "arms"})
    folder = RunFolder(config.folder)
    with AlignJournal(folder, config, after_step=0):
        pass
    interrupted(folder)
    first = next((folder.path / "wandb").glob("offline-run-*"))
    capsys.readouterr()
    with AlignJournal(folder, config, after_step=3) as journal:
        journal.conclude({"kl": 0.7, "validation": {"both_good": 0.25}})
    assert f"W&B: {first.name} stay as they are; this is a new W&B run in the group 'arms'" in capsys.readouterr().out

    (run,) = [run for run in offline_runs(folder.path) if run.path.parent != first]
    assert (run.name, run.group, run.job_type) == ("arm align", "arms", "align")
    logged = {row["_step"]: row["kl_k1_sum"] for row in run.history if "kl_k1_sum" in row}
    assert logged == pytest.approx({1: 0.1, 2: 0.2, 3: 0.3})
    assert run.summary["final/validation.both_good"] == 0.25
    tables = [json.loads(path.read_text()) for path in run.path.parent.rglob("samples*.table.json")]
    assert [table["data"] for table in tables] == [[[2, "p", "after 2", 0.1]]]


def test_the_files_are_cut_as_the_tracker_is(tmp_path: Path) -> None:
    config = tiny_config(tmp_path)
    folder = RunFolder(config.folder)
    interrupted(folder)
    with AlignJournal(folder, config, after_step=3):
        pass
    assert [row["step"] for row in MetricsLog(folder.metrics).read()] == [1, 2, 3]
    assert [row["step"] for row in MetricsLog(folder.groups).read()] == [1, 2, 3]
    assert pq.read_table(folder.samples)["step"].to_pylist() == [2]
