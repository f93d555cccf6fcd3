"""Objects and manifests: what comes back is what was written, or it is refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.output.file_entries import damage, entry_of
from pipelines.storage.files import DamagedError, fetch, read_manifest, write_manifest
from pipelines.storage.place import Place


@pytest.mark.parametrize(
    ("content", "why"),
    [(None, "is missing"), (b"weight", "has 6 bytes instead of 7"), (b"weightS", "is damaged")],
)
def test_a_damaged_object_is_named_and_nothing_is_left_here(
    memory: Place, tmp_path: Path, content: bytes | None, why: str
) -> None:
    path, target = tmp_path / "file", tmp_path / "target"
    path.write_bytes(b"weights")
    entry = entry_of(path)
    if content is not None:
        memory.write("a/b", content)
    with pytest.raises(DamagedError, match=f"{memory.url}/a/b {why}"):
        fetch(memory, "a/b", entry, target)
    assert list(tmp_path.iterdir()) == [path]
    memory.write("a/b", b"weights")
    fetch(memory, "a/b", entry, target)
    assert damage(target, entry) is None


def test_a_manifest_comes_back(memory: Place) -> None:
    content = {"files": {"a/b": {"size": 1, "sha256": "c0ffee"}}, "logs": {}}
    assert read_manifest(memory, "manifest.json") is None
    write_manifest(memory, "manifest.json", content)
    assert read_manifest(memory, "manifest.json") == content


@pytest.mark.parametrize(
    "content",
    [
        b'{"files": {"a": {"size"',
        b"[]",
        b'{"files": {"a": {"size": 1}}}',
        b'{"files": {"../a": {"size": 1, "sha256": ""}}}',
        b'{"files": {"/etc/a": {"size": 1, "sha256": ""}}}',
    ],
)
def test_a_manifest_that_is_damaged_or_leads_elsewhere_is_refused(memory: Place, content: bytes) -> None:
    memory.write("manifest.json", content)
    with pytest.raises(DamagedError, match=r"manifest.json is damaged"):
        read_manifest(memory, "manifest.json")
