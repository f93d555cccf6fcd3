"""A folder on a store: what is written is there at once, and `create` writes once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from allgood.errors import StorageError
from pipelines.storage.place import Place, open_place


def test_what_is_written_is_read_listed_and_deleted(place: Place, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(b"weights")
    place.write("a.json", b"{}")
    place.at("b", "c").upload(source, "d.safetensors")
    assert place.names() == ["a.json", "b/c/d.safetensors"]
    assert place.at("b").names() == ["c/d.safetensors"]
    assert place.size("b/c/d.safetensors") == 7
    assert place.download("b/c/d.safetensors", target)
    assert target.read_bytes() == b"weights"
    place.write("a.json", b"[]")
    assert place.read("a.json") == b"[]"
    place.delete(["a.json", "never/there"])
    assert place.names() == ["b/c/d.safetensors"]


def test_what_is_not_there_is_nothing_and_no_error(place: Place, tmp_path: Path) -> None:
    assert place.read("absent") is None
    assert place.size("absent") is None
    assert not place.download("absent", tmp_path / "target")
    assert place.at("absent").names() == []


def test_an_object_is_created_once(place: Place) -> None:
    assert place.create("lease", b"first")
    assert not place.create("lease", b"second")
    assert place.read("lease") == b"first"


def test_a_usable_place_is_found_usable_and_left_as_it_was(place: Place) -> None:
    place.write("mine", b"")
    place.check()
    assert place.names() == ["mine"]


def test_a_store_without_conditional_writes_is_refused(memory: Place) -> None:
    class Overwriting:
        """A store, such as older ones that speak S3, that ignores the condition."""

        def __getattr__(self, name: str) -> Any:
            return getattr(memory.filesystem, name)

        def pipe_file(self, path: str, content: bytes, mode: str = "overwrite") -> None:
            memory.filesystem.pipe_file(path, content)

    with pytest.raises(StorageError, match="no conditional write"):
        replace(memory, filesystem=Overwriting()).check()
    assert memory.names() == []


@pytest.mark.parametrize(
    ("url", "why"),
    [("nosuch://bucket/x", "no place that fsspec knows"), ("gdrive://folder/x", "a package that is not installed")],
)
def test_a_kind_of_store_that_cannot_be_reached_from_here_is_named(url: str, why: str) -> None:
    with pytest.raises(StorageError, match=f"storage {url} .*{why}"):
        open_place(url)


class Failing:
    """A store that refuses the first writes, as a busy or unreachable one does."""

    def __init__(self, filesystem: Any, error: Exception, times: int) -> None:
        self._filesystem, self._error, self.times = filesystem, error, times

    def __getattr__(self, name: str) -> Any:
        return getattr(self._filesystem, name)

    def pipe_file(self, path: str, content: bytes) -> None:
        self.times -= 1
        if self.times >= 0:
            raise self._error
        self._filesystem.pipe_file(path, content)


def test_what_fails_is_tried_again(memory: Place) -> None:
    failing = replace(memory, filesystem=Failing(memory.filesystem, TimeoutError("slow"), 2), pauses_s=(0.0, 0.0))
    failing.write("a", b"1")
    assert memory.read("a") == b"1"


def test_what_fails_too_often_is_an_error_that_names_the_object(memory: Place) -> None:
    failing = replace(memory, filesystem=Failing(memory.filesystem, TimeoutError("slow"), 3), pauses_s=(0.0, 0.0))
    with pytest.raises(StorageError, match=rf"cannot write {memory.url}/a \(slow\)"):
        failing.write("a", b"1")


def test_a_missing_permission_is_not_tried_again(memory: Place) -> None:
    filesystem = Failing(memory.filesystem, PermissionError("Access Denied"), 9)
    with pytest.raises(StorageError, match="Access Denied"):
        replace(memory, filesystem=filesystem).write("a", b"1")
    assert filesystem.times == 8
