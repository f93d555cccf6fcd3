"""Folders that a learner writes or reads without seeing them: it is handed a passing one on its own node."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol


class Elsewhere(Protocol):
    """A folder that is not on this node. Travels to the learner."""

    def written(self, write: Callable[[str], None]) -> Mapping[str, Any]:
        """Have `write` fill a folder, and bring its files there; what there is to say of each, by name."""

    def read(self, read: Callable[[str], None]) -> None:
        """Bring the files here, verified, and have `read` read the folder that they are in.

        Raises:
            AllgoodError: A file is missing or damaged.
        """
