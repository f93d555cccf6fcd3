"""Models on a node: those that it sees are not fetched, others once, verified, by content."""

from __future__ import annotations

import os
import pickle
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from allgood.errors import StorageError
from pipelines.storage import models
from pipelines.storage.models import StoredModels, keep_models
from pipelines.storage.node_disk import VARIABLE
from pipelines.storage.objects import OBJECTS
from pipelines.storage.place import Place


@pytest.fixture(autouse=True)
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache of this node."""
    monkeypatch.setenv(VARIABLE, str(tmp_path / "node"))
    return tmp_path / "node" / "models"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "policy"
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "checkpoints" / "state.json").write_text("of its training")
    return folder


@pytest.fixture
def kept(memory: Place, model: Path) -> StoredModels:
    stored: StoredModels = pickle.loads(pickle.dumps(keep_models(memory, [str(model), "owner/name"])))  # as it travels
    return stored


def test_a_folder_that_the_node_sees_is_loaded_where_it_is(kept: StoredModels, model: Path, disk: Path) -> None:
    assert kept(str(model)) == str(model)
    os.utime(model / "model.safetensors", ns=(0, 0))  # a copy on a disk of its own
    assert kept(str(model)) == str(model)
    assert kept("owner/name") == "owner/name"
    assert not disk.exists()


def test_a_folder_that_is_not_there_is_fetched_once_and_kept(
    kept: StoredModels, model: Path, memory: Place, disk: Path
) -> None:
    shutil.rmtree(model)
    found = Path(kept(str(model)))
    assert found.parent == disk
    assert {path.name: path.read_bytes() for path in found.iterdir()} == {
        "config.json": b"{}",
        "model.safetensors": b"weights",
    }
    memory.delete(memory.names())
    assert kept(str(model)) == str(found)


def test_another_model_under_the_same_path_is_not_loaded(kept: StoredModels, model: Path) -> None:
    (model / "model.safetensors").write_bytes(b"WEIGHTS")
    assert (Path(kept(str(model))) / "model.safetensors").read_bytes() == b"weights"


def test_actors_of_one_node_fetch_a_model_once(
    kept: StoredModels, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(model)
    fetched, fetch_object = [], models.fetch_object

    def counted(storage: Place, entry: models.FileEntry, target: Path) -> None:
        fetched.append(target.name)
        fetch_object(storage, entry, target)

    monkeypatch.setattr(models, "fetch_object", counted)
    with ThreadPoolExecutor(4) as actors:
        found = set(actors.map(kept, [str(model)] * 4))
    assert len(found) == 1
    assert sorted(fetched) == ["config.json", "model.safetensors"]


def test_a_model_that_is_damaged_on_the_store_is_named_and_not_kept(
    kept: StoredModels, model: Path, memory: Place, disk: Path
) -> None:
    shutil.rmtree(model)
    for name in memory.at(OBJECTS).names():
        memory.at(OBJECTS).write(name, b"xx")
    with pytest.raises(StorageError, match=r"objects/../[0-9a-f]{64} (is damaged|has 2 bytes).*; delete it there"):
        kept(str(model))
    assert [path for path in disk.iterdir() if path.suffix != ".lock"] == []
