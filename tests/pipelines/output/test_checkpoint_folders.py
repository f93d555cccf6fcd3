"""What any checkpoint folder promises; `tests/pipelines/alignment/test_checkpoints.py` damages whole checkpoints."""

from __future__ import annotations

from pathlib import Path

import pytest

from allgood.errors import CheckpointError
from pipelines.output.checkpoint_folders import (
    committed_steps,
    delete_all_but,
    latest_whole,
    seal,
    step_folder,
    unsealed,
)


def sealed(checkpoints: Path, step: int) -> Path:
    folder = step_folder(checkpoints, step)
    folder.mkdir(parents=True)
    (folder / "weights").write_bytes(bytes(range(100)))
    seal(folder, {"step": step, "loss": 0.1 + 0.2})
    return folder


def test_the_state_comes_back_equal(tmp_path: Path) -> None:
    assert unsealed(sealed(tmp_path, 7)) == {"schema": 1, "step": 7, "loss": 0.1 + 0.2}


def test_what_lies_there_unsealed_is_refused_by_the_name_of_the_missing_manifest(tmp_path: Path) -> None:
    folder = step_folder(tmp_path, 7)
    folder.mkdir()
    with pytest.raises(CheckpointError, match=r"step_000007/manifest.json is missing"):
        unsealed(folder)


def test_steps_are_numbers_and_nothing_else_is_a_checkpoint(tmp_path: Path) -> None:
    for step in (1_000_000, 9, 20):
        sealed(tmp_path, step)
    for name in ("step_12", "step_000011.old", ".step_000012.tmp-0"):
        (tmp_path / name).mkdir()
    assert committed_steps(tmp_path) == [9, 20, 1_000_000]
    assert committed_steps(tmp_path / "absent") == []


def test_the_oldest_is_tried_last_and_none_is_left_when_all_are_damaged(tmp_path: Path) -> None:
    for step in (1, 2):
        (sealed(tmp_path, step) / "weights").write_bytes(b"short")
    said: list[str] = []
    assert latest_whole(tmp_path, unsealed, said.append) is None
    assert [text.endswith("; trying the checkpoint before it") for text in said] == [True, False]
    assert all("weights has 5 bytes instead of 100" in text for text in said)


def test_deleting_leaves_what_is_kept_and_sweeps_away_what_killed_writers_left(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        sealed(tmp_path, step)
    (tmp_path / ".step_000004.tmp-deadbeef").mkdir()
    delete_all_but(tmp_path, {2, 9})
    assert [path.name for path in tmp_path.iterdir()] == ["step_000002"]
