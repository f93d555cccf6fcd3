"""Checkpoints on a store: without a manifest there is none, and what is damaged is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.output.checkpoint_folders import seal, step_folder, unsealed
from pipelines.storage.checkpoints import (
    StoredCheckpoint,
    commit,
    fetch_checkpoint,
    manifest_of,
    prune,
    stored_checkpoints,
    write_files,
)
from pipelines.storage.files import DamagedError
from pipelines.storage.logs import Logs
from pipelines.storage.place import Place


def local(folder: Path, step: int, weights: bytes = b"weights") -> Path:
    """A committed checkpoint here."""
    path = step_folder(folder, step)
    (path / "learner").mkdir(parents=True)
    (path / "learner" / "weights.safetensors").write_bytes(weights)
    seal(path, {"state": {"step": step}})
    return path


def keep(place: Place, folder: Path, step: int, lease: int = 1, logs: Logs | None = None) -> StoredCheckpoint:
    stored = StoredCheckpoint(step, lease)
    write_files(place, folder, stored)
    commit(place, folder, stored, logs or {})
    return stored


def test_a_kept_checkpoint_comes_back(place: Place, tmp_path: Path) -> None:
    stored = keep(place, local(tmp_path, 50), 50)
    assert stored.name == "checkpoints/step_000050.1"
    assert stored_checkpoints(place) == [stored]
    fetch_checkpoint(place, stored, tmp_path / "there" / "step_000050")
    assert unsealed(tmp_path / "there" / "step_000050")["state"] == {"step": 50}
    assert (tmp_path / "there/step_000050/learner/weights.safetensors").read_bytes() == b"weights"


def test_files_without_a_manifest_are_no_checkpoint(memory: Place, tmp_path: Path) -> None:
    write_files(memory, local(tmp_path, 4), StoredCheckpoint(4, 1))
    assert "checkpoints/step_000004.1/learner/weights.safetensors" in memory.names()
    assert stored_checkpoints(memory) == []


def test_a_late_driver_overwrites_nothing_of_the_one_that_took_over(memory: Place, tmp_path: Path) -> None:
    second = keep(memory, local(tmp_path / "second", 4, b"of the second"), 4, lease=2)
    write_files(memory, local(tmp_path / "first", 4, b"of the first"), StoredCheckpoint(4, 1))
    fetch_checkpoint(memory, second, tmp_path / "there")
    assert (tmp_path / "there/learner/weights.safetensors").read_bytes() == b"of the second"


@pytest.mark.parametrize("name", ["learner/weights.safetensors", "state.json"])
@pytest.mark.parametrize("damage", ["flipped", "truncated", "missing"])
def test_a_damaged_file_is_named_and_nothing_is_left_here(
    memory: Place, tmp_path: Path, name: str, damage: str
) -> None:
    stored = keep(memory, local(tmp_path, 4), 4)
    content = memory.read(f"{stored.name}/{name}")
    assert content is not None
    match damage:
        case "flipped":
            memory.write(f"{stored.name}/{name}", content[:-1] + bytes([content[-1] ^ 1]))
        case "truncated":
            memory.write(f"{stored.name}/{name}", content[:-1])
        case _:
            memory.delete([f"{stored.name}/{name}"])
    with pytest.raises(DamagedError, match=f"{memory.url}/{stored.name}/{name}"):
        fetch_checkpoint(memory, stored, tmp_path / "there")
    assert not (tmp_path / "there").exists()


def test_only_what_is_kept_stays_with_its_logs(memory: Place, tmp_path: Path) -> None:
    logs: dict[int, Logs] = {}
    for step in (2, 4, 6):
        name = f"logs/metrics-{step}.jsonl"
        memory.write(name, b"")
        logs[step] = {"metrics": [{"name": name, "size": 0, "sha256": "", "after": step - 2, "step": step}]}
    first, second, third = (keep(memory, local(tmp_path, step), step, logs=logs[step]) for step in (2, 4, 6))
    write_files(memory, local(tmp_path, 8), StoredCheckpoint(8, 1))  # by a driver that was killed
    prune(memory, [second, third])
    assert stored_checkpoints(memory) == [second, third]
    assert not [name for name in memory.names() if first.name in name or "step_000008" in name or "metrics-2" in name]
    fetch_checkpoint(memory, second, tmp_path / "there")
    assert manifest_of(memory, third)["logs"] == logs[6]
