"""What a run starts from, on a store: its run file, prepared data, models of the base, references, local models.

Files lie under their checksum in `objects/` of the storage, once for all runs there. `inputs.json` of a run says which
they are, and is written last: a run without it was never begun. Each name begins with a root: `run/` for the run
folder, `base/` for its base, `model.0/` for the first of the folders outside both that the run file names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from allgood.errors import StorageError
from pipelines.config.loading import CONFIG
from pipelines.config.run import RunConfig
from pipelines.output.file_entries import Files, damage, entry_of
from pipelines.storage.files import DamagedError, read_manifest, write_manifest
from pipelines.storage.models import model_files
from pipelines.storage.objects import fetch_object, keep_object
from pipelines.storage.place import Place

INPUTS = "inputs.json"
_PARTS = ("world", "data", "sft", "reward", "evaluator", "references", "served")
_RECORDS = ("threads.json", "hub_revisions.json")  # grow while a run goes on


@dataclass(frozen=True)
class Inputs:
    """The list of what a run starts from. `models` are the local folders that the run file names, by their root."""

    files: Files
    models: dict[str, str]


def keep_inputs(storage: Place, run: Place, config: RunConfig) -> None:
    """Write what a run starts from, as far as it is not there already, and then the list of it."""
    models = {f"model.{number}": source for number, source in enumerate(local_models(config))}
    sources = dict(_sources(_roots(config, models)))
    files = {name: entry_of(path) for name, path in sources.items()}
    for name, entry in files.items():
        keep_object(storage, sources[name], entry)
    write_manifest(run, INPUTS, {"schema": 1, "files": files, "models": models})


def stored_inputs(run: Place) -> Inputs | None:
    """The list of what a run starts from; None where no run was begun.

    Raises:
        DamagedError: It cannot be read.
    """
    manifest = read_manifest(run, INPUTS)
    return None if manifest is None else Inputs(manifest["files"], manifest["models"])


def fetch_config(storage: Place, inputs: Inputs, target: Path) -> None:
    """Bring the run file here.

    Raises:
        DamagedError: It is not there, or damaged.
    """
    entry = inputs.files.get(f"run/{CONFIG}")
    if entry is None:
        raise DamagedError(f"{storage.url} has no run file of this run")
    fetch_object(storage, entry, target)


def missing_inputs(inputs: Inputs, config: RunConfig) -> dict[str, Path]:
    """Where files belong that are not here, by their names in the list; the run file is `fetch_config`'s.

    Raises:
        StorageError: The list names a place that the run file does not, or a file here has another content.
    """
    roots = _roots(config, inputs.models)
    missing = {}
    for name, entry in inputs.files.items():
        root, _, below = name.partition("/")
        if root not in roots:
            raise StorageError(f"the list of what the run starts from names {name}, which its run file does not")
        path = roots[root] / below
        if name == f"run/{CONFIG}":
            continue
        if not path.exists():
            missing[name] = path
        elif below not in (CONFIG, *_RECORDS) and damage(path, entry) is not None:
            raise StorageError(f"{path} is not the file that the run was begun with; move it away, and try again")
    return missing


def fetch_inputs(storage: Place, inputs: Inputs, missing: Mapping[str, Path]) -> None:
    """Bring the missing files to where they belong.

    Raises:
        DamagedError: One of them is missing or damaged on the store.
    """
    for name, path in missing.items():
        fetch_object(storage, inputs.files[name], path)


def _sources(roots: Mapping[str, Path]) -> Iterator[tuple[str, Path]]:
    """Every file that a run starts from, by its name in the list."""
    for root, folder in roots.items():
        is_model = root not in ("run", "base")
        parts = ["."] if is_model else [CONFIG, *_RECORDS, *_PARTS]
        for part in parts:
            path = folder / part
            for file in [path] if path.is_file() else model_files(path):
                yield f"{root}/{file.relative_to(folder).as_posix()}", file


def _roots(config: RunConfig, models: Mapping[str, str]) -> dict[str, Path]:
    """Folders that names begin with. A run without a base has what others take from one in its own folder.

    Raises:
        StorageError: A model lies where the run file names none: nothing is written to other places.
    """
    unknown = [source for source in models.values() if source not in set(_texts(config.model_dump(mode="json")))]
    if unknown:
        raise StorageError(f"the list of what the run starts from names {unknown[0]}, which its run file does not")
    base = {} if config.base is None else {"base": config.base}
    return {"run": config.folder, **base, **{root: Path(source) for root, source in models.items()}}


def local_models(config: RunConfig) -> list[str]:
    """Model folders that the run file names, outside the run folder and its base."""
    own = [config.folder.resolve(), config.base_folder.resolve()]
    found = []
    for source in dict.fromkeys(_texts(config.model_dump(mode="json"))):
        folder = Path(source)
        if (folder / "config.json").is_file() and not any(folder.resolve().is_relative_to(place) for place in own):
            found.append(source)
    return found


def _texts(content: Any) -> Iterator[str]:
    """Every text that a run file gives as a value."""
    if isinstance(content, str):
        yield content
    elif isinstance(content, Mapping):
        for value in content.values():
            yield from _texts(value)
    elif isinstance(content, list):
        for value in content:
            yield from _texts(value)
