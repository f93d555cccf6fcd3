"""A folder on any filesystem of fsspec: `s3://bucket/prefix`, `gs://bucket/prefix`, `file:///shared/folder`.

Object stores have no rename, no lock and no append. What is used here is what all of them have: whole objects, lists
with the last write in them, and `create`, a write that is refused where there is an object already. Credentials come
from the environment, as each filesystem reads them.
"""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import fsspec
from fsspec.implementations.local import LocalFileSystem

from allgood.errors import StorageError, first_line

T = TypeVar("T")

_PAUSES_S = (1.0, 2.0, 4.0, 8.0)  # between tries; the filesystems try again themselves before they fail
_FINAL = (FileNotFoundError, FileExistsError, PermissionError)  # trying again changes nothing
# Lists must hold the last write, and an address where nobody answers must not take minutes.
_OPTIONS: dict[str, dict[str, Any]] = {
    "s3": {"config_kwargs": {"connect_timeout": 10, "read_timeout": 60, "retries": {"max_attempts": 2}}},
    "file": {"auto_mkdir": True},
}


@dataclass(frozen=True)
class Place:
    """A folder of a store. Names are relative to it, with `/` between their parts."""

    url: str
    filesystem: Any
    root: str
    pauses_s: Sequence[float] = _PAUSES_S

    def at(self, *names: str) -> Place:
        """A folder in this one."""
        below = "/".join(names)
        return replace(self, url=f"{self.url}/{below}", root=f"{self.root}/{below}")

    def create(self, name: str, content: bytes) -> bool:
        """Write an object that is not there yet; False, and nothing is written, where it is.

        After a failed try that had reached the store, it is there: whoever creates must know its own content.
        """
        try:
            self._tried("write", name, lambda path: self._create(path, content))
        except FileExistsError:
            return False
        return True

    def write(self, name: str, content: bytes) -> None:
        """Write an object, in the place of one that may be there."""
        self._tried("write", name, lambda path: self.filesystem.pipe_file(path, content))

    def read(self, name: str) -> bytes | None:
        """The content of an object, or None where there is none."""
        try:
            content: bytes = self._tried("read", name, self.filesystem.cat_file)
        except FileNotFoundError:
            return None
        return content

    def upload(self, source: Path, name: str) -> None:
        """Write a file as an object."""
        self._tried("write", name, lambda path: self.filesystem.put_file(str(source), path))

    def download(self, name: str, target: Path) -> bool:
        """Read an object into a file; False where there is none."""
        try:
            self._tried("read", name, lambda path: self.filesystem.get_file(path, str(target)))
        except FileNotFoundError:
            return False
        return True

    def size(self, name: str) -> int | None:
        """Bytes of an object, or None where there is none."""
        try:
            found: dict[str, Any] = self._tried("read", name, self.filesystem.info)
        except FileNotFoundError:
            return None
        return int(found["size"])

    def names(self) -> list[str]:
        """Every object in this folder and the folders below, in order."""
        try:
            found: list[str] = self._tried("list", "", self.filesystem.find)
        except FileNotFoundError:
            return []
        return sorted(path.removeprefix(f"{self.root}/") for path in found)

    def delete(self, names: Sequence[str]) -> None:
        """Delete objects, one after another, in this order; those that are gone already are no error."""
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                self._tried("delete", name, self.filesystem.rm_file)

    def check(self) -> None:
        """Try in a second or two what a run will need: to write, read, list and delete, and to create only once.

        Raises:
            StorageError: It cannot; says why.
        """
        name, content = f".allgood-{uuid.uuid4().hex}", b"to see whether this place can be used; may be deleted\n"
        once = replace(self, pauses_s=())
        try:
            if not once.create(name, content) or once.create(name, content):
                raise StorageError(
                    f"storage {self.url} cannot be used: it has no conditional write (it created one object twice), so "
                    "that two drivers could write the same run; use a store that has"
                )
            if once.read(name) != content or name not in once.names():
                raise StorageError(f"storage {self.url} cannot be used: it does not give back what was just written")
        except FileNotFoundError as error:
            raise StorageError(f"storage {self.url} cannot be used ({_reason(error)}); create or correct it") from error
        finally:
            with contextlib.suppress(StorageError):
                once.delete([name])

    def _create(self, path: str, content: bytes) -> None:
        if isinstance(self.filesystem, LocalFileSystem):
            # Its `mode="create"` looks first and writes then, so that two who come at once both create.
            with self.filesystem.open(path, "xb") as file:
                file.write(content)
        else:
            self.filesystem.pipe_file(path, content, mode="create")

    def _tried(self, verb: str, name: str, act: Callable[[str], T]) -> T:
        """Act on an object until it works, a few times.

        Raises:
            FileNotFoundError, FileExistsError: As the filesystem says.
            StorageError: It did not work.
        """
        path = f"{self.root}/{name}" if name else self.root
        for pause_s in (*self.pauses_s, None):
            try:
                self.filesystem.invalidate_cache()
                return act(path)
            except (FileNotFoundError, FileExistsError):
                raise
            except Exception as error:  # each filesystem has exceptions of its own, and not all are OSErrors
                if pause_s is None or isinstance(error, _FINAL):
                    raise StorageError(f"cannot {verb} {self.url}/{name} ({_reason(error)})") from error
                time.sleep(pause_s)
        raise AssertionError("the last try returns or raises")


def open_place(url: str) -> Place:
    """The folder at a URL; nothing is asked of the store yet.

    Raises:
        StorageError: The kind of store is unknown, or the package for it is missing.
    """
    url = url.rstrip("/")
    protocol = url.split("://", 1)[0]
    options = {"use_listings_cache": False, "skip_instance_cache": True, **_OPTIONS.get(protocol, {})}
    try:
        filesystem, root = fsspec.core.url_to_fs(url, **options)
    except ImportError as error:
        raise StorageError(
            f"storage {url} needs a package that is not installed ({_reason(error)}); the extra `s3` has that for s3://"
        ) from error
    except ValueError as error:
        raise StorageError(f"storage {url} is no place that fsspec knows ({_reason(error)})") from error
    return Place(url, filesystem, root.rstrip("/"))


def _reason(error: Exception) -> str:
    return first_line(error).rstrip(".")
