"""Writing files and folders so that nothing half-written ever stands under its final name.

Everything is written beside its final place, flushed to disk, and renamed. A full disk or a kill leaves at most a
`.tmp-*` sibling, which the next writer of the same name removes.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from allgood.errors import AllgoodError


@contextmanager
def atomic_path(final: Path) -> Iterator[Path]:
    """Yield a temporary path beside `final` (a file or a folder to be made by the caller); rename it on success."""
    with disk_errors(final):
        final.parent.mkdir(parents=True, exist_ok=True)
        for stale in final.parent.glob(f".{final.name}.tmp-*"):
            _remove(stale)
        temporary = final.parent / f".{final.name}.tmp-{uuid.uuid4().hex[:8]}"
        try:
            yield temporary
            _flush(temporary)
            _replace(temporary, final)
        except BaseException:
            _remove(temporary)
            raise


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Say in one sentence that the disk is full, while `path` is written."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise AllgoodError(
                f"the disk is full while writing {path}; free some space and run the command again"
            ) from error
        raise


def write_json(path: Path, value: object) -> None:
    """Write `value` as indented JSON, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def _replace(temporary: Path, final: Path) -> None:
    if final.is_dir():
        # A folder cannot be renamed over a non-empty one: move the old one aside first, delete it after.
        old = final.parent / f".{final.name}.tmp-old-{uuid.uuid4().hex[:8]}"
        final.replace(old)
        temporary.replace(final)
        _remove(old)
    else:
        temporary.replace(final)
    _flush_folder(final.parent)


def _flush(path: Path) -> None:
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    for file in files:
        descriptor = os.open(file, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
