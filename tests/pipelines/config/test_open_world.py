"""The choice between the two worlds in a run file."""

from __future__ import annotations

from pathlib import Path

import pytest

from allgood.errors import ConfigError
from pipelines.config.data import WorldConfig
from pipelines.config.loading import load_config
from pipelines.config.open_world import OpenWorldConfig
from pipelines.references.judge_keys import judge_keys

QUICKSTART, OPEN = Path("configs/quickstart.yaml"), Path("configs/open_world.yaml")


def test_a_world_without_a_kind_is_the_embedded_one_and_takes_overrides() -> None:
    world = load_config(QUICKSTART, ["world.seed=3"]).world
    assert isinstance(world, WorldConfig)
    assert world.seed == 3


def test_the_kind_may_be_overridden() -> None:
    config = load_config(QUICKSTART, ["world={kind: open}", "world.point=weak"])
    assert config.world == OpenWorldConfig(point="weak")


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("world.point=weak", "`world.point`; it belongs to another `world.kind`"),
        ("world.sede=1", "did you mean `world.seed`?"),
        ("world.kind=opn", "`world.kind` is 'opn'; did you mean 'open'?"),
    ],
)
def test_a_key_of_the_other_world_or_of_none_is_named(override: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words.replace("?", r"\?")):
        load_config(QUICKSTART, [override])


@pytest.mark.parametrize(
    ("properties", "words"),
    [
        ("[helpful]", "allowed: a list \\(at least 2\\), each 'helpful', 'harmless', 'concise' or 'courteous'"),
        ("[helpful, helpful]", "a property stands twice: helpful, helpful"),
        ("[helpful, concise]", "the open world has pairs for helpful, concise only"),
    ],
)
def test_properties_of_the_open_world_are_two_or_more_and_those_of_the_run(properties: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load_config(OPEN, [f"world.properties={properties}"])


def test_scores_of_gold_on_the_embedded_world_keep_the_key_that_they_had_when_it_was_the_only_one() -> None:
    config = load_config(QUICKSTART)
    key = judge_keys(config)["gold"]
    assert sorted(key) == sorted(WorldConfig.model_fields.keys() - {"kind"})
    assert judge_keys(load_config(OPEN))["gold"]["kind"] == "open"
