"""Writing: why a place cannot be written, in one sentence; locks between processes."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from allgood.errors import AllgoodError, ConfigError
from pipelines.output.files import atomic_path, check_writable, claimed, write_json


def test_a_file_where_a_folder_is_needed_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for write in (lambda path: write_json(path, {}), check_writable):
        with pytest.raises(AllgoodError, match=r"^cannot write .*sub: .* \(.*/file.*\); give another place"):
            write(tmp_path / "file" / "deep" / "sub")


def test_no_permission_is_one_sentence(tmp_path: Path) -> None:
    with (
        pytest.raises(AllgoodError, match=r"^cannot write .*final: Permission denied; give another place, or make"),
        atomic_path(tmp_path / "final") as temporary,
    ):
        raise PermissionError(errno.EACCES, "Permission denied", str(temporary))


@pytest.mark.parametrize("error", [FileNotFoundError(errno.ENOENT, "gone", "/elsewhere/input"), TimeoutError()])
def test_errors_that_are_not_of_writing_pass(tmp_path: Path, error: OSError) -> None:
    with pytest.raises(type(error)), atomic_path(tmp_path / "final"):
        raise error


def test_trying_a_folder_leaves_nothing(tmp_path: Path) -> None:
    check_writable(tmp_path / "new" / "folder")
    assert list(tmp_path.iterdir()) == []


def test_a_lock_is_held_until_the_block_ends(tmp_path: Path) -> None:
    lock = tmp_path / "parts" / ".lock"
    with claimed(lock, "free"), pytest.raises(ConfigError, match="it is taken"), claimed(lock, "it is taken"):
        pytest.fail("two hold it")
    with claimed(lock, "free"):
        pass
