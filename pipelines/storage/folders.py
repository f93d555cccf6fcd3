"""A folder on a store that another process writes or reads, on a node that need not see the driver's disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pipelines.output.file_entries import FileEntry, Files, entries_of
from pipelines.storage.files import fetch
from pipelines.storage.node_disk import passing_folder
from pipelines.storage.place import open_place


@dataclass(frozen=True)
class StoredFolder:
    """Travels to that process as a URL: credentials come from the environment there. `files` are those to be read."""

    url: str
    files: Mapping[str, FileEntry] = field(default_factory=dict)

    def written(self, write: Callable[[str], None]) -> Files:
        """Have `write` fill a passing folder here, and write its files to the store; what they are.

        Raises:
            StorageError: The store does not take one.
        """
        place = open_place(self.url)
        with passing_folder() as folder:
            write(str(folder))
            written = entries_of(folder)
            for name in written:
                place.upload(folder / name, name)
        return written

    def read(self, read: Callable[[str], None]) -> None:
        """Bring the files into a passing folder here, which `read` reads.

        Raises:
            StorageError: One of them is missing or damaged; names it.
        """
        with passing_folder() as folder:
            self.fetch(folder)
            read(str(folder))

    def fetch(self, folder: Path) -> None:
        """Bring the files into a folder, verified.

        Raises:
            DamagedError: One of them is missing or damaged; names it.
        """
        place = open_place(self.url)
        for name, entry in self.files.items():
            fetch(place, name, entry, folder / name)
