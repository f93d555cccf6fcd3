"""What allgood keeps on the own disk of a node: models that came from a store, and files that pass through.

The folder is `~/.cache/allgood`, or what ALLGOOD_CACHE names. Nothing in it is needed again: it may be deleted whenever
no run uses the node.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from allgood.errors import InUseError
from pipelines.output.files import claimed, disk_errors, one_after_another

VARIABLE = "ALLGOOD_CACHE"


def node_folder() -> Path:
    """The folder, which need not be there yet."""
    return Path(os.environ.get(VARIABLE) or Path.home() / ".cache" / "allgood").absolute()


@contextmanager
def passing_folder() -> Iterator[Path]:
    """An empty folder that goes at the end; those that killed processes left go first.

    Raises:
        AllgoodError: The disk is full, or not writable.
    """
    passing = node_folder() / "passing"
    with ExitStack() as held:
        # Whoever looks for stale folders takes their locks for a moment: nobody else may claim one meanwhile.
        with one_after_another(passing.with_suffix(".lock")):
            for stale in passing.glob("*.lock"):
                _remove(stale)
            folder = Path(held.enter_context(tempfile.TemporaryDirectory(dir=_made(passing))))
            lock = passing / f"{folder.name}.lock"
            held.enter_context(claimed(lock, f"{folder} is in use"))
        held.callback(lock.unlink, missing_ok=True)
        yield folder


def _remove(lock: Path) -> None:
    """Remove a folder whose process has ended: nobody holds its lock any more."""
    with suppress(InUseError), claimed(lock, str(lock)):
        shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
        lock.unlink(missing_ok=True)


def _made(folder: Path) -> Path:
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder
