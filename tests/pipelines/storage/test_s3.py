"""The same on a server that speaks S3: what a run asks of a store, and who may write."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from allgood.errors import InUseError, StorageError
from pipelines.storage.lease import leased
from pipelines.storage.place import Place, open_place
from tests.object_store import object_store
from tests.pipelines.storage.test_lease import abandoned


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    """One for all tests here: a connection to S3 takes a second to prepare."""
    with object_store() as store:
        yield open_place(f"{store.url}/project/")


def test_objects_are_written_listed_read_and_deleted(place: Place, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(b"weights")
    place.check()
    run = place.at("objects")
    run.at("b", "c").upload(source, "d.safetensors")
    run.write("a.json", b"{}")
    assert run.names() == ["a.json", "b/c/d.safetensors"]
    assert (run.read("a.json"), run.size("b/c/d.safetensors")) == (b"{}", 7)
    assert run.download("b/c/d.safetensors", target)
    assert target.read_bytes() == b"weights"
    run.delete(["a.json", "never/there", "b/c/d.safetensors"])
    assert place.names() == []
    assert (run.read("a.json"), run.size("a.json"), run.download("a.json", target)) == (None, None, False)


def test_an_object_is_created_once(place: Place) -> None:
    assert place.create("once", b"first")
    assert not place.create("once", b"second")
    assert place.read("once") == b"first"


def test_a_lease_is_taken_refused_lost_and_given_back(place: Place) -> None:
    run = place.at("run")
    killed = abandoned(run)
    with leased(run, "resume", lease_s=1.5) as second:
        with pytest.raises(StorageError, match=r"belongs to another driver now \(`allgood resume`"):
            killed.check()
        with pytest.raises(InUseError, match=r"is in use: `allgood resume` runs it since"):
            leased(run, "align", lease_s=9.0).__enter__()
        assert second.number == 2
    with leased(run, "align") as third:
        assert third.number == 3


def test_a_bucket_that_is_not_there_is_refused(place: Place) -> None:
    with pytest.raises(
        StorageError, match=r"storage s3://nowhere/x cannot be used \(.*bucket does not exist\); create"
    ):
        open_place("s3://nowhere/x").check()
