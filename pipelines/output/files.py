"""Writing files and folders so that nothing half-written ever stands under its final name.

Everything is written alongside its final place, flushed to disk, and renamed. A full disk or a kill leaves at most a
`.tmp-*` sibling, which the next writer of the same name removes.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from allgood.errors import AllgoodError, InUseError


@contextmanager
def atomic_path(final: Path) -> Iterator[Path]:
    """Yield a temporary path alongside `final` (a file or a folder to be made by the caller); rename it on success."""
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
    """Say in one sentence why `path` cannot be written, while it is: a full disk, no permission, a file in the way."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise AllgoodError(
                f"the disk is full while writing {path}; free some space and run the command again"
            ) from error
        if _is_of_writing(error, path):
            raise AllgoodError(
                f"cannot write {path}: {error.strerror}{_obstacle(error, path)}; give another place, or make this one "
                "writable"
            ) from error
        raise


def check_writable(folder: Path) -> None:
    """Try to write into `folder`, or where it would be made, and leave nothing; called before anything expensive.

    Raises:
        AllgoodError: It cannot be written; says why.
    """
    with disk_errors(folder):
        place = folder.absolute()
        while not place.exists():
            place = place.parent
        if not place.is_dir():  # the temporary file below would be named in the reason otherwise
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(place))
        with tempfile.TemporaryFile(dir=place):
            pass


@contextmanager
def claimed(path: Path, refusal: str) -> Iterator[None]:
    """Hold the lock file `path` for this process; the system frees it when the process ends, however it ends.

    Raises:
        InUseError: Another process holds it; says `refusal`.
    """
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.open("w")
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InUseError(refusal) from error
        if os.fstat(lock.fileno()).st_nlink == 0:  # its holder ended, and removed the folder, while we opened it
            raise InUseError(refusal)
        yield


@contextmanager
def one_after_another(path: Path) -> Iterator[None]:
    """Hold the lock file `path`, after whoever holds it now."""
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.open("w")
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def write_json(path: Path, value: object) -> None:
    """Write `value` as indented JSON, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def _is_of_writing(error: OSError, path: Path) -> bool:
    """Whether the error is about `path`, a sibling or a folder above; time-outs and broken pipes are errors too."""
    if error.errno is None or isinstance(error, ConnectionError):
        return False
    if not isinstance(error.filename, str):
        return True
    place, final = Path(error.filename).absolute(), path.absolute()
    return final.is_relative_to(place) or place.is_relative_to(final.parent)


def _obstacle(error: OSError, path: Path) -> str:
    """The folder above `path`, or the file in its place, where the error names one."""
    is_above = isinstance(error.filename, str) and path.absolute().is_relative_to(Path(error.filename).absolute())
    return f" ({error.filename})" if is_above else ""


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
