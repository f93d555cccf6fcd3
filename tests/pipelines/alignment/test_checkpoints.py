"""Checkpoints: what is committed comes back; what is damaged is refused by name and the one before is used."""

from __future__ import annotations

import asyncio
import errno
from dataclasses import replace
from pathlib import Path

import pytest

from allgood.errors import AllgoodError, CheckpointError
from pipelines.alignment import checkpoints
from pipelines.alignment.loop import Best, State
from tests.pipelines.tiny_run import tiny_config

HASHES = {"config": "c0ffee", "reference table": "7ab1e"}
PROCESSES = {"learner": [{"threads": 2, "gpu": "", "cpu": "A (AVX2)"}]}
STATE = State(
    step=5, policy_version=5, kl_coefficient=0.1 + 0.2, kl_controller={"coefficient": 0.3}, best=Best(5, 0.25)
)


async def save_learner(folder: Path) -> None:
    (folder / "weights.safetensors").write_bytes(bytes(range(256)) * 9)
    (folder / "learner.json").write_text('{"random_state": [1, 2, 3]}')


def commit(folder: Path, step: int) -> Path:
    return asyncio.run(checkpoints.commit(folder, replace(STATE, step=step), HASHES, save_learner, processes=PROCESSES))


def test_a_committed_state_comes_back_equal(tmp_path: Path) -> None:
    folder = commit(tmp_path, 5)
    loaded = checkpoints.load(folder)
    assert loaded.state == STATE
    assert loaded.hashes == HASHES
    assert loaded.processes == PROCESSES
    assert (loaded.learner / "weights.safetensors").stat().st_size == 256 * 9
    assert folder.name == "step_000005"


def test_the_latest_is_found_by_step_not_by_time(tmp_path: Path) -> None:
    commit(tmp_path, 100)
    commit(tmp_path, 20)
    found = checkpoints.latest(tmp_path, pytest.fail)
    assert found is not None
    assert found.state.step == 100


def test_no_checkpoint_is_none(tmp_path: Path) -> None:
    assert checkpoints.latest(tmp_path / "absent", pytest.fail) is None


@pytest.mark.parametrize("name", ["learner/weights.safetensors", "learner/learner.json", "state.json", "manifest.json"])
@pytest.mark.parametrize("damage", ["truncated", "flipped", "missing"])
def test_a_damaged_checkpoint_is_refused_by_file_name_and_the_one_before_is_used(
    tmp_path: Path, name: str, damage: str
) -> None:
    commit(tmp_path, 10)
    path = commit(tmp_path, 20) / name
    content = bytearray(path.read_bytes())
    if damage == "missing":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(content[: len(content) // 2])
    else:
        content[len(content) // 2] ^= 0x10
        path.write_bytes(content)
    said: list[str] = []
    found = checkpoints.latest(tmp_path, said.append)
    assert found is not None
    assert found.state.step == 10
    assert len(said) == 1
    assert "step_000020" in said[0]
    if name != "manifest.json" or damage != "flipped":  # a flipped checksum accuses the file that it belongs to
        assert name in said[0]


def test_every_single_flipped_bit_of_the_manifest_is_noticed_or_harmless(tmp_path: Path) -> None:
    path = commit(tmp_path, 5) / "manifest.json"
    good = path.read_bytes()
    for position in range(0, len(good), 7):
        path.write_bytes(good[:position] + bytes([good[position] ^ 0x04]) + good[position + 1 :])
        try:
            assert checkpoints.load(path.parent).state == STATE
        except CheckpointError:
            continue


def test_when_all_are_damaged_the_error_says_so(tmp_path: Path) -> None:
    (commit(tmp_path, 5) / "state.json").unlink()
    with pytest.raises(CheckpointError, match=r"every checkpoint in .* is damaged"):
        checkpoints.latest(tmp_path, lambda text: None)


def test_a_failed_save_leaves_the_old_checkpoint_and_nothing_else(tmp_path: Path) -> None:
    commit(tmp_path, 5)

    async def full_disk(folder: Path) -> None:
        (folder / "weights.safetensors").write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(AllgoodError, match="disk is full"):
        asyncio.run(checkpoints.commit(tmp_path, replace(STATE, step=6), HASHES, full_disk, processes=PROCESSES))
    assert [path.name for path in tmp_path.iterdir()] == ["step_000005"]


def test_what_a_killed_writer_left_is_not_a_checkpoint_and_is_swept_away(tmp_path: Path) -> None:
    commit(tmp_path, 5)
    (tmp_path / ".step_000009.tmp-deadbeef" / "learner").mkdir(parents=True)
    found = checkpoints.latest(tmp_path, pytest.fail)
    assert found is not None
    assert found.state.step == 5
    checkpoints.prune(tmp_path, replace(STATE, best=None), keep=2)
    assert [path.name for path in tmp_path.iterdir()] == ["step_000005"]


def test_pruning_keeps_the_last_ones_and_the_best(tmp_path: Path) -> None:
    for step in (1, 2, 3, 4, 5):
        commit(tmp_path, step)
    checkpoints.prune(tmp_path, replace(STATE, best=Best(2, 1.0)), keep=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step_000002", "step_000004", "step_000005"]


def test_a_damaged_checkpoint_that_was_passed_over_takes_no_place_of_a_whole_one(tmp_path: Path) -> None:
    for step in (5, 6, 9):
        commit(tmp_path, step)
    (tmp_path / "step_000009" / "manifest.json").unlink()
    found = checkpoints.latest(tmp_path, lambda _: None)
    assert found is not None
    commit(tmp_path, 7)
    checkpoints.prune(tmp_path, replace(found.state, step=7, best=None), keep=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step_000006", "step_000007"]


@pytest.mark.parametrize("name", list(HASHES))
def test_a_checkpoint_of_another_config_or_table_is_refused(tmp_path: Path, name: str) -> None:
    loaded = checkpoints.load(commit(tmp_path, 5))
    config = tiny_config(tmp_path)
    checkpoints.refuse_other_run(loaded, HASHES, config)
    with pytest.raises(CheckpointError, match=f"another {name}"):
        checkpoints.refuse_other_run(loaded, HASHES | {name: "other"}, config)
