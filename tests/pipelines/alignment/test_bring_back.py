"""A run on a store, on a machine that has nothing of it, or another run."""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path

import pytest

from allgood.errors import ConfigError
from pipelines.alignment.bring_back import bring_back
from pipelines.config.loading import load_run, save_config
from pipelines.config.run import RunConfig
from pipelines.storage.copy import copy_of
from pipelines.storage.place import open_place
from tests.pipelines.tiny_run import make_base, tiny_config


@pytest.fixture
def config(tmp_path: Path) -> RunConfig:
    """A run that was begun and has a copy."""
    make_base(tmp_path)
    config = tiny_config(tmp_path, storage=f"memory://{uuid.uuid4().hex}/project")
    save_config(config, config.folder / "config.yaml")
    with copy_of(config, "align") as copy:
        assert copy is not None
        copy.begin(config, overwrite=False)
    return config


def test_run_file_and_base_come_to_an_empty_disk(config: RunConfig, tmp_path: Path) -> None:
    weights = (tmp_path / "base" / "sft" / "best" / "model.safetensors").read_bytes()
    shutil.rmtree(tmp_path / "base")
    shutil.rmtree(tmp_path / "runs")
    assert bring_back(f"{config.storage}/arm/") == config.folder
    assert load_run(config.folder) == config
    assert (tmp_path / "base" / "sft" / "best" / "model.safetensors").read_bytes() == weights
    assert bring_back(f"{config.storage}/arm") == config.folder  # nothing is missing any more


def test_a_bucket_that_has_moved_is_the_new_storage(config: RunConfig, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "runs")
    old, new = open_place(str(config.storage)), open_place(f"memory://{uuid.uuid4().hex}")
    for name in old.names():
        new.write(name, old.read(name) or b"")
    bring_back(f"{new.url}/arm")
    assert load_run(config.folder).storage == new.url


def test_another_run_here_is_not_touched(config: RunConfig) -> None:
    save_config(config.model_copy(update={"seed": 4}), config.folder / "config.yaml")
    with pytest.raises(ConfigError, match="holds another run than memory://"):
        bring_back(f"{config.storage}/arm")
    assert load_run(config.folder).seed == 4


def test_where_no_run_is_that_is_said(config: RunConfig) -> None:
    with pytest.raises(ConfigError, match=r"/other holds no run"):
        bring_back(f"{config.storage}/other")
