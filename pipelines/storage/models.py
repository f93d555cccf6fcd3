"""Models for nodes that do not see the driver's disk: it writes their files to the store, nodes keep what they fetch.

A node loads the folder that a spec names where the same files lie there; so nothing is fetched on a shared disk. Else
it looks into its own cache, by content, and fetches what is not there: one process of the node at a time, so that two
actors of one model fetch it once.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from allgood.errors import StorageError
from pipelines.output.file_entries import FileEntry, entry_of
from pipelines.output.files import atomic_path, one_after_another
from pipelines.storage.files import DamagedError
from pipelines.storage.node_disk import node_folder
from pipelines.storage.objects import fetch_object, keep_object
from pipelines.storage.place import Place, open_place

_OF_TRAININGS = frozenset({"last", "checkpoints"})  # what no later stage reads


@dataclass(frozen=True)
class ModelFile:
    """A file of a model as the driver has it. `modified` is in nanoseconds of its clock."""

    entry: FileEntry
    modified: int


@dataclass(frozen=True)
class StoredModels:
    """Finds the models of a run on any node. `folders` are by the path that the driver has them under."""

    url: str
    folders: Mapping[str, Mapping[str, ModelFile]]

    def __call__(self, source: str) -> str:
        """The folder to load on this node; the name itself where the driver has no such folder.

        Raises:
            StorageError: A file on the store is missing or damaged.
        """
        files = self.folders.get(source)
        if files is None or all(_is_here(Path(source) / name, file) for name, file in files.items()):
            return source
        try:
            return str(self._fetched(files))
        except DamagedError as error:
            raise StorageError(f"{error}; delete it there, and give the command again") from error

    def _fetched(self, files: Mapping[str, ModelFile]) -> Path:
        content = json.dumps({name: file.entry["sha256"] for name, file in files.items()}, sort_keys=True)
        models = node_folder() / "models"
        target = models / hashlib.sha256(content.encode()).hexdigest()[:32]
        with one_after_another(models / f"{target.name}.lock"):
            if not _is_whole(target, files):
                storage = open_place(self.url)
                with atomic_path(target) as temporary:
                    temporary.mkdir()
                    for name, file in files.items():
                        fetch_object(storage, file.entry, temporary / name)
        return target


def keep_models(storage: Place, sources: Iterable[str]) -> StoredModels:
    """Write what is not there yet of the models that are folders here.

    Raises:
        StorageError: The store does not take a file.
    """
    folders = {}
    for source in sources:
        if Path(source).is_dir():
            files = {path.relative_to(source).as_posix(): path for path in model_files(Path(source))}
            folders[source] = {name: _model_file(path) for name, path in files.items()}
            for name, path in files.items():
                keep_object(storage, path, folders[source][name].entry)
    return StoredModels(storage.url, folders)


def model_files(folder: Path) -> Iterator[Path]:
    """The files of a folder that are part of a model, in order."""
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if path.is_file() and not any(part in _OF_TRAININGS or part.startswith(".") for part in parts):
            yield path


def _model_file(path: Path) -> ModelFile:
    found = path.stat()
    return ModelFile(_known_entry(path, found.st_size, found.st_mtime_ns), found.st_mtime_ns)


@functools.lru_cache(maxsize=10_000)
def _known_entry(path: Path, size: int, modified: int) -> FileEntry:
    """Several stages of a process start with the same models, which may be large."""
    return entry_of(path)


def _is_here(path: Path, file: ModelFile) -> bool:
    """Whether the driver's file is here too: the same by size and time, as rsync looks, or one of the same content."""
    if not path.is_file():
        return False
    found = path.stat()
    if found.st_size != file.entry["size"]:
        return False
    return found.st_mtime_ns == file.modified or entry_of(path) == file.entry


def _is_whole(folder: Path, files: Mapping[str, ModelFile]) -> bool:
    """Whether the cache has it. It was verified when it came, and appears all at once; its sizes are looked at."""
    paths = {folder / name: file.entry["size"] for name, file in files.items()}
    return all(path.is_file() and path.stat().st_size == size for path, size in paths.items())
