"""Weights in files: damage is found and named, old versions go, and a version that somebody may still need stays."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from actors.messages import Weights
from actors.weights.files import FilePublisher, StoredFile
from actors.weights.transports import SharedFiles
from allgood.errors import RoleError
from tests.actors import tiny_models
from tests.actors.snapshots import snapshot


def version(number: int, training: str = "a") -> Weights:
    weights = snapshot(tiny_models.policy(), policy_version=number, dtype=torch.float32)
    return Weights(number, weights.arrays, weights.dtypes, training)


@pytest.fixture
def publisher(tmp_path: Path) -> FilePublisher:
    return FilePublisher(SharedFiles(folder=str(tmp_path)))


def test_the_last_two_versions_stay_and_all_of_an_earlier_training_goes(
    publisher: FilePublisher, tmp_path: Path
) -> None:
    stored = [publisher.publish(version(number), 0) for number in range(4)]
    assert [Path(file.path).exists() for file in stored] == [False, False, True, True]
    assert stored[2].weights().policy_version == 2
    newer = publisher.publish(version(0, "b"), 0)
    assert [path.name for path in tmp_path.iterdir()] == ["b"]
    assert newer.weights().training == "b"


@pytest.mark.parametrize("damage", ["flipped", "truncated"])
def test_a_damaged_file_is_refused_by_name(publisher: FilePublisher, damage: str) -> None:
    file = publisher.publish(version(1), 0)
    content = bytearray(Path(file.path).read_bytes())
    content[-5] ^= 1
    Path(file.path).write_bytes(content if damage == "flipped" else content[:-5])
    with pytest.raises(RoleError, match=r"part_00000\.safetensors is damaged"):
        file.weights()


def test_a_missing_file_says_what_the_folder_must_be(tmp_path: Path) -> None:
    with pytest.raises(RoleError, match="must be storage that all nodes share"):
        StoredFile(str(tmp_path / "nowhere"), "0" * 64, 1, "a").weights()


def test_a_folder_that_cannot_be_written_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RoleError, match=r"choose another placement\.weights\.folder"):
        FilePublisher(SharedFiles(folder=str(tmp_path / "file"))).publish(version(1), 0)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
