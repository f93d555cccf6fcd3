"""What a run starts from: kept once for all runs, brought back to where the run file says, and nowhere else."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from allgood.errors import StorageError
from pipelines.config.loading import save_config
from pipelines.config.run import RunConfig
from pipelines.run.folder import RunFolder
from pipelines.storage.files import DamagedError
from pipelines.storage.inputs import (
    INPUTS,
    Inputs,
    fetch_config,
    fetch_inputs,
    keep_inputs,
    missing_inputs,
    stored_inputs,
)
from pipelines.storage.objects import OBJECTS
from pipelines.storage.place import Place
from tests.pipelines.tiny_run import tiny_config


def begun(folder: Path, name: str = "arm") -> RunConfig:
    """A run that is about to start: small files in the places of models and data."""
    judge = folder / "elsewhere" / "judge"
    properties = tiny_config(folder).model_dump(mode="json")["properties"]
    config = tiny_config(folder, name, properties=properties | {"liked": {"kind": "model", "model": str(judge)}})
    write(folder / "base" / "sft" / "best" / "model.safetensors", "pi_0")
    write(folder / "base" / "sft" / "best" / "config.json", "{}")
    write(folder / "base" / "sft" / "last" / "model.safetensors", "not read by anybody")
    write(folder / "base" / "reward" / "short" / "checkpoints" / "state.json", "neither")
    write(folder / "base" / "data" / "prompts.parquet", "prompts")
    write(folder / "base" / "config.yaml", "of the base")
    write(judge / "config.json", "{}")
    write(judge / "model.safetensors", "a judge")
    save_config(config, RunFolder(config.folder).config)
    return config


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def kept(memory: Place, config: RunConfig) -> Inputs:
    keep_inputs(memory, memory.at(config.name), config)
    inputs = stored_inputs(memory.at(config.name))
    assert inputs is not None
    return inputs


def test_what_a_run_starts_from_is_listed(memory: Place, tmp_path: Path) -> None:
    inputs = kept(memory, begun(tmp_path))
    assert sorted(inputs.files) == [
        "base/config.yaml",
        "base/data/prompts.parquet",
        "base/sft/best/config.json",
        "base/sft/best/model.safetensors",
        "model.0/config.json",
        "model.0/model.safetensors",
        "run/config.yaml",
    ]
    assert inputs.models == {"model.0": str(tmp_path / "elsewhere" / "judge")}


def test_it_comes_back_to_an_empty_disk(memory: Place, tmp_path: Path) -> None:
    config = begun(tmp_path)
    inputs = kept(memory, config)
    assert missing_inputs(inputs, config) == {}
    for folder in ("base", "elsewhere", "runs"):
        shutil.rmtree(tmp_path / folder)
    missing = missing_inputs(inputs, config)
    assert missing["model.0/model.safetensors"] == tmp_path / "elsewhere" / "judge" / "model.safetensors"
    fetch_inputs(memory, inputs, missing)
    assert (tmp_path / "base/sft/best/model.safetensors").read_text() == "pi_0"
    assert (tmp_path / "elsewhere/judge/model.safetensors").read_text() == "a judge"
    assert missing_inputs(inputs, config) == {}


def test_runs_on_one_base_share_its_files(memory: Place, tmp_path: Path) -> None:
    kept(memory, begun(tmp_path, "first"))
    before = memory.at(OBJECTS).names()
    kept(memory, begun(tmp_path, "second"))
    assert len(memory.at(OBJECTS).names()) == len(before) + 1  # its run file


def test_another_file_here_is_not_overwritten(memory: Place, tmp_path: Path) -> None:
    config = begun(tmp_path)
    inputs = kept(memory, config)
    write(tmp_path / "base" / "sft" / "best" / "model.safetensors", "PI_0")
    with pytest.raises(StorageError, match="model.safetensors is not the file that the run was begun with"):
        missing_inputs(inputs, config)


def test_a_list_that_names_other_places_is_refused(memory: Place, tmp_path: Path) -> None:
    config = begun(tmp_path)
    inputs = kept(memory, config)
    elsewhere = str(tmp_path / "home")
    with pytest.raises(StorageError, match="names .*home, which its run file does not"):
        missing_inputs(Inputs(inputs.files, {"model.0": elsewhere}), config)
    entry = inputs.files["run/config.yaml"]
    with pytest.raises(StorageError, match="names other/file, which its run file does not"):
        missing_inputs(Inputs({"other/file": entry}, {}), config)


def test_a_damaged_model_is_named(memory: Place, tmp_path: Path) -> None:
    config = begun(tmp_path)
    inputs = kept(memory, config)
    sha256 = inputs.files["base/sft/best/model.safetensors"]["sha256"]
    memory.write(f"{OBJECTS}/{sha256[:2]}/{sha256}", b"pi_1")
    shutil.rmtree(tmp_path / "base")
    with pytest.raises(DamagedError, match=f"{sha256} is damaged"):
        fetch_inputs(memory, inputs, missing_inputs(inputs, config))


def test_a_run_that_was_never_begun_has_no_list(memory: Place, tmp_path: Path) -> None:
    assert stored_inputs(memory.at("arm")) is None
    kept(memory, begun(tmp_path))
    memory.at("arm").delete([INPUTS])
    assert stored_inputs(memory.at("arm")) is None


def test_the_run_file_comes_back(memory: Place, tmp_path: Path) -> None:
    config = begun(tmp_path)
    fetch_config(memory, kept(memory, config), tmp_path / "copy.yaml")
    assert (tmp_path / "copy.yaml").read_text() == RunFolder(config.folder).config.read_text()
