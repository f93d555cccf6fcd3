"""Keys that have moved: refused in files of a user, migrated in what is stored, and hashed as at first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from allgood.errors import ConfigError
from allgood.scorers import yaml12
from pipelines.alignment.checkpoints import config_hash, first_hash
from pipelines.config.earlier import MOVED, first_form, first_names, migrated, renamed
from pipelines.config.loading import load_config, load_run, save_config
from pipelines.config.run import RunConfig
from tests.pipelines.tiny_run import tiny_config

CHANGED = {"align.prompts_per_chunk": 5, "align.missing_eos_penalty": 0.25, "align.deadline_s": 900.0}
FIRST_HASH = (
    "4e140461431742d75947d3fb62c5002faf6b3c5a3ea97912fd0da55ebd543884"  # by version 0.1, of configs/quickstart.yaml
)


def stored_by_the_first_version(folder: Path) -> dict[str, Any]:
    """A run file as version 0.1 stored it, with all three keys away from their defaults."""
    overrides = [f"{MOVED[key]}={value}" for key, value in CHANGED.items()]
    path = folder / "runs" / "old" / "config.yaml"
    save_config(tiny_config(folder, "old"), path)
    content = first_form(load_config(path, overrides))
    path.write_text(yaml12.dump(content), encoding="utf-8")
    return content


def test_the_first_form_has_the_keys_at_their_old_places(tmp_path: Path) -> None:
    content = stored_by_the_first_version(tmp_path)
    assert {f"align.{key}": content["align"].get(key) for key in ("prompts_per_chunk", "missing_eos_penalty")} == {
        "align.prompts_per_chunk": 5,
        "align.missing_eos_penalty": 0.25,
    }
    assert content["align"]["deadline_s"] == 900.0
    assert "missing_eos_penalty" not in content
    assert "prompts_per_chunk" not in content["sampling"]
    assert "deadline_s" not in content["placement"]


def test_a_stored_configuration_is_migrated(tmp_path: Path) -> None:
    content = stored_by_the_first_version(tmp_path)
    config = load_run(tmp_path / "runs" / "old")
    assert (config.sampling.prompts_per_chunk, config.missing_eos_penalty) == (5, 0.25)
    assert config.placement.deadline_s == 900.0
    assert first_form(config) == content
    assert migrated(config.model_dump(mode="json")) == config.model_dump(mode="json")  # today's form stays


def test_stop_texts_that_follow_the_policy_s_format_hash_as_the_first_default(tmp_path: Path) -> None:
    config = tiny_config(tmp_path)
    given = config.sampling.model_copy(update={"stop": ["\n\nHuman:"]})
    assert config.sampling.stop is None
    assert config_hash(config) == config_hash(config.model_copy(update={"sampling": given}))
    none = config.sampling.model_copy(update={"stop": []})
    assert config_hash(config) != config_hash(config.model_copy(update={"sampling": none}))


@pytest.mark.parametrize("old", list(MOVED))
def test_a_file_of_the_user_is_refused_with_the_new_name(tmp_path: Path, old: str) -> None:
    path = tmp_path / "run.yaml"
    section = f"align: {{{old.removeprefix('align.')}: 3}}\n"
    path.write_text("name: a\nworld: {}\npolicy: {model: a}\nproperties: {helpful: {kind: model}}\n" + section)
    with pytest.raises(ConfigError, match=f"run.yaml: `{old}` has moved; write `{MOVED[old]}`"):
        load_config(path)
    with pytest.raises(ConfigError, match=f"override `{old}=3`: `{old}` has moved; write `{MOVED[old]}`"):
        load_config(Path("configs/quickstart.yaml"), [f"{old}=3"])


def test_an_unchanged_run_keeps_the_hash_of_the_first_version() -> None:
    config = load_config(Path("configs/quickstart.yaml"))
    assert config_hash(config) == first_hash(config) == FIRST_HASH


def test_settings_of_data_that_came_later_stand_in_the_first_form_where_they_are_given(tmp_path: Path) -> None:
    pairs = {"helpful": {"path": "a.jsonl"}, "harmless": {"path": "b.jsonl", "columns": {"prompt": "question"}}}
    settings = {"world": None, "data": {"pairs": pairs, "demonstrations_from": ["helpful"]}}
    config = tiny_config(tmp_path).model_copy(update={"world": None})
    config = RunConfig.model_validate({**config.model_dump(exclude_unset=True), **settings})
    data = first_form(config)["data"]
    assert "prompts" not in data
    assert data["demonstrations"] is None
    assert "columns" not in data["pairs"]["helpful"]
    assert data["pairs"]["harmless"]["columns"] == {"prompt": "question"}


def test_dotted_keys_of_stored_sweeps_are_renamed_and_back() -> None:
    points = {"kl.coefficient": 0.1, "align.missing_eos_penalty": 0.5}
    assert renamed(points) == {"kl.coefficient": 0.1, "missing_eos_penalty": 0.5}
    assert first_names(renamed(points)) == points
