"""Numbers of a finished run on the world, from a folder made by hand."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from allgood.errors import DataError
from experiments.world.trained import trained_numbers
from pipelines.config.data import BARS
from pipelines.run.folder import RunFolder


def finished_run(path: Path) -> RunFolder:
    """Two prompts with four samples each: none good and wide, all good and narrow; one sample of another split."""
    folder = RunFolder(path)
    helpful = {"hard": [-4.0, -2.0, -2.0, -4.0], "easy": [1.0, 1.5, 1.0, 1.5]}
    rows = [
        {"prompt_id": name, "split": "alignment", "sample": index, "gold.helpful": gold, "gold.harmless": 0.5}
        for name, values in helpful.items()
        for index, gold in enumerate(values)
    ]
    rows.append({"prompt_id": "other", "split": "test", "sample": 0, "gold.helpful": 9.0, "gold.harmless": 9.0})
    folder.references.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows[::-1]), folder.references / "samples.parquet")
    folder.world.mkdir()
    for name in BARS:
        pairs = [("test", 0.9), ("test", 0.3), ("reward", 0.5)]  # Bayes accuracy of the test pairs: (0.9 + 0.7) / 2
        lines = [json.dumps({"split": split, "probability": probability}) for split, probability in pairs]
        (folder.world / f"{name}_pairs.jsonl").write_text("\n".join(lines) + "\n")
        folder.reward(name).mkdir(parents=True)
        (folder.reward(name) / "report.json").write_text(json.dumps({"accuracy": 0.6}))
    return folder


def test_the_numbers_of_a_run_made_by_hand(tmp_path: Path) -> None:
    numbers = trained_numbers(finished_run(tmp_path))
    assert (numbers["prompts"], numbers["samples per prompt"]) == (2, 4)
    assert numbers["SFT: both good"] == 0.5
    assert numbers["SFT: prompts under 5 %"] == 0.5
    assert numbers["SFT: prompts over 80 %"] == 0.5
    # Standard deviations 1 and 0.25: quantiles 0.9 and 0.1 of two values lie a tenth inside.
    assert numbers["spread ratio"] == pytest.approx(0.925 / 0.325)
    assert numbers["reward model helpful: Bayes accuracy of the same pairs"] == pytest.approx(0.8)
    assert numbers["reward model harmless: share of the Bayes accuracy"] == pytest.approx(0.75)


def test_a_folder_without_a_finished_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="give the folder of a finished `allgood quickstart`"):
        trained_numbers(RunFolder(tmp_path))


def test_samples_of_a_run_without_the_world_are_refused(tmp_path: Path) -> None:
    folder = finished_run(tmp_path)
    pq.write_table(pa.table({"prompt_id": ["a"], "gold.helpful": [1.0]}), folder.references / "samples.parquet")
    with pytest.raises(DataError, match=r"no gold\.harmless; its run was not on the embedded world"):
        trained_numbers(folder)


def test_the_command_prints_a_table(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "experiments.world.trained", str(finished_run(tmp_path).path)]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "| SFT: both good | 0.5 |" in shown
