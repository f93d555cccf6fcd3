"""A run that is kept on a store, on a machine that has nothing of it: run file and inputs, at the places it was begun.

Its checkpoints come when it is resumed: a machine that has the run already may lack only those of another one.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from allgood.errors import ConfigError
from pipelines.alignment.checkpoints import config_hash
from pipelines.config.loading import CONFIG, load_config, load_run, save_config
from pipelines.config.run import RunConfig
from pipelines.config.storage_url import checked_storage
from pipelines.output.progress import say
from pipelines.run.folder import RunFolder
from pipelines.run.locks import making_base, writing_results
from pipelines.storage.inputs import Inputs, fetch_config, fetch_inputs, missing_inputs, stored_inputs
from pipelines.storage.place import Place, open_place


def bring_back(url: str) -> Path:
    """Bring what the run at `url` starts from here, as far as it is missing; returns its run folder.

    Raises:
        ConfigError: There is no run, or the run folder holds another one.
        StorageError: The store does not answer, something on it is damaged, or another file lies in the place of one.
    """
    try:
        parent, _, name = checked_storage(url).rpartition("/")
    except ValueError as error:
        raise ConfigError(str(error)) from None
    storage = open_place(parent)
    inputs = stored_inputs(storage.at(name))
    if inputs is None:
        raise ConfigError(f"{url} holds no run; give the place of one, such as s3://bucket/prefix/NAME")
    config = _stored_config(storage, inputs, name)
    path = RunFolder(config.folder).config
    if path.is_file() and config_hash(load_run(config.folder)) != config_hash(config):
        raise ConfigError(f"{config.folder} holds another run than {url}; move it away, and try again")
    missing = missing_inputs(inputs, config)
    if missing:
        with writing_results(config.folder, "resume"), making_base(config.base_folder, "resume"):
            fetch_inputs(storage, inputs, missing)
        say(f"brought what the run starts from here, from {url}")
    if not path.is_file():
        save_config(config, path)
    return config.folder


def _stored_config(storage: Place, inputs: Inputs, name: str) -> RunConfig:
    """The run file, of the run as it is called now, where it lies now."""
    place = {"name": name, "storage": storage.url}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / CONFIG
        fetch_config(storage, inputs, path)
        return load_config(path, [f"{key}={json.dumps(value)}" for key, value in place.items()])
