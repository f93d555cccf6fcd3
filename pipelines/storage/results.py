"""What a run ends with, on a store: the model, the summary, the evaluation and the report, listed by `results.json`."""

from __future__ import annotations

from pathlib import Path

from pipelines.output.file_entries import Files, damage, entry_of
from pipelines.run.folder import RunFolder
from pipelines.storage.files import DamagedError, fetch, read_manifest, write_manifest
from pipelines.storage.place import Place

RESULTS = "results.json"


def keep_results(place: Place, folder: RunFolder) -> None:
    """Write what is new or has changed, and the list last."""
    try:
        before = _listed(place)
    except DamagedError:  # to be written anew
        before = {}
    files: Files = {}
    for path in _results(folder):
        name = path.relative_to(folder.path).as_posix()
        files[name] = entry_of(path)
        if before.get(name) != files[name]:
            place.upload(path, name)
    write_manifest(place, RESULTS, {"schema": 1, "files": files})


def fetch_results(place: Place, folder: RunFolder) -> bool:
    """Bring the results of a finished run here; False where it has none yet.

    Raises:
        DamagedError: A file is missing or damaged; names it.
    """
    files = _listed(place)
    for name, entry in files.items():
        if damage(folder.path / name, entry) is not None:
            fetch(place, name, entry, folder.path / name)
    return bool(files)


def _listed(place: Place) -> Files:
    manifest = read_manifest(place, RESULTS)
    return {} if manifest is None else manifest["files"]


def _results(folder: RunFolder) -> list[Path]:
    """Every file of the results that are there."""
    parts = (folder.model, folder.summary, folder.evaluation, folder.report, folder.plots)
    return [file for part in parts for file in (part, *sorted(part.rglob("*"))) if file.is_file()]
