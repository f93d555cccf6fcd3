"""A folder on a store, written and read by processes that see only their own disk."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.output.file_entries import entry_of
from pipelines.storage.files import DamagedError
from pipelines.storage.folders import StoredFolder
from pipelines.storage.node_disk import VARIABLE, node_folder, passing_folder
from pipelines.storage.place import Place, open_place


@pytest.fixture(autouse=True)
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where files of this node pass through."""
    monkeypatch.setenv(VARIABLE, str(tmp_path / "node"))
    return tmp_path / "node" / "passing"


def write(folder: str) -> None:
    (Path(folder) / "part").mkdir()
    (Path(folder) / "part" / "weights.safetensors").write_bytes(b"weights")
    (Path(folder) / "learner.json").write_text("{}")


def test_what_one_process_writes_another_reads(place: Place, disk: Path, tmp_path: Path) -> None:
    folder = StoredFolder(place.at("run", "learner").url)
    written: StoredFolder = pickle.loads(pickle.dumps(replace(folder, files=folder.written(write))))
    assert sorted(written.files) == ["learner.json", "part/weights.safetensors"]
    read = {}

    def look(name: str) -> None:
        read.update({path.name: path.read_text() for path in Path(name).rglob("*") if path.is_file()})

    written.read(look)
    assert read == {"learner.json": "{}", "weights.safetensors": "weights"}
    written.fetch(tmp_path / "here")
    assert entry_of(tmp_path / "here" / "learner.json") == written.files["learner.json"]
    assert list(disk.iterdir()) == []


def test_a_process_that_writes_nothing_has_written_nothing(memory: Place) -> None:
    assert StoredFolder(memory.at("learner").url).written(lambda folder: None) == {}


def test_a_damaged_file_is_named_before_anything_is_read(memory: Place) -> None:
    folder = StoredFolder(memory.at("learner").url)
    files = folder.written(write)
    open_place(folder.url).write("learner.json", b"[]")
    with pytest.raises(DamagedError, match=r"learner/learner.json is damaged"):
        replace(folder, files=files).read(lambda name: pytest.fail("it was read"))


def test_a_passing_folder_that_a_killed_process_left_goes(disk: Path) -> None:
    (disk / "left").mkdir(parents=True)
    (disk / "left.lock").touch()
    with passing_folder() as one, passing_folder() as other:
        assert {one.parent, other.parent} == {disk}
        assert one.is_dir()  # the other one has left it alone
        assert not (disk / "left").exists()
    assert list(disk.iterdir()) == []


def test_many_processes_of_a_node_pass_files_at_the_same_time(disk: Path) -> None:
    def passed(number: int) -> str:
        with passing_folder() as folder:
            (folder / "file").write_text(str(number))
            return (folder / "file").read_text()

    with ThreadPoolExecutor(8) as learners:
        assert list(learners.map(passed, range(200))) == [str(number) for number in range(200)]
    assert list(disk.iterdir()) == []


def test_without_the_variable_it_is_the_cache_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE)
    assert node_folder() == Path.home() / ".cache" / "allgood"
