"""A file is the one that its entry says, or the sentence says what is wrong with it."""

from __future__ import annotations

import hashlib
from pathlib import Path

from pipelines.output.file_entries import damage, entry_of


def test_what_is_wrong_with_a_file_is_said(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_bytes(b"good")
    entry = entry_of(path)
    assert entry == {"size": 4, "sha256": hashlib.sha256(b"good").hexdigest()}
    assert damage(path, entry) is None
    path.write_bytes(b"goad")
    assert damage(path, entry) == "is damaged (its checksum differs)"
    path.write_bytes(b"go")
    assert damage(path, entry) == "has 2 bytes instead of 4"
    path.unlink()
    assert damage(path, entry) == "is missing"
