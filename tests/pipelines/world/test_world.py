import hashlib
import json
import random
from pathlib import Path

import pytest

from allgood.conversations import as_prompt, parse
from allgood.errors import ConfigError
from experiments.world.checks import world_numbers
from pipelines.config.data import WorldConfig
from pipelines.config.open_world import OpenWorldConfig, World
from pipelines.config.run import RunConfig
from pipelines.world.prompts import draw_prompts
from pipelines.world.responses import Plan, read, render
from pipelines.world.write import split_prompts, world_rows, write_world

SMALL = WorldConfig(num_prompts=200, pairs_per_prompt=2, demonstrations_per_prompt=3)

OPEN = OpenWorldConfig(num_prompts=100, pairs_per_prompt=2, demonstrations_per_prompt=3)


def config(folder: Path, world: World | None = SMALL) -> RunConfig:
    return RunConfig.model_validate(
        {
            "name": "w",
            "output_dir": folder,
            "world": world,
            "data": {} if world else {"pairs": {"helpful": {"path": "x.jsonl"}}},
            "policy": {"architecture": {"model_type": "llama"}},
            "properties": {"helpful": {"kind": "model"}},
        }
    )


def digest(folder: Path) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}


@pytest.mark.parametrize("world", [SMALL, OPEN], ids=lambda world: world.kind)
def test_the_same_seed_writes_the_same_bytes_and_another_seed_does_not(tmp_path: Path, world: World) -> None:
    first = digest(write_world(config(tmp_path / "a", world)))
    second = digest(write_world(config(tmp_path / "b", world)))
    other = digest(write_world(config(tmp_path / "c", world.model_copy(update={"seed": 1}))))
    assert first == second
    assert all(first[name] != other[name] for name in first)


def test_the_files_have_the_format_of_real_preference_data(tmp_path: Path) -> None:
    folder = write_world(config(tmp_path))
    for name in ("helpful_pairs", "harmless_pairs"):
        row = json.loads((folder / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()[0])
        *asked, answer = parse(row["chosen"])
        assert answer.role == "assistant"
        assert answer.content
        assert as_prompt(parse(row["rejected"])[:-1]) == as_prompt(asked)
        assert asked[0].role == "human"


def test_splits_are_disjoint_by_first_turn_and_have_the_shares_of_the_definitions() -> None:
    splits = split_prompts(WorldConfig())
    turns = {split: {parse(prompt)[0].content for prompt in prompts} for split, prompts in splits.items()}
    assert sum(len(members) for members in turns.values()) == len(set.union(*turns.values())) == 2400
    assert {split: len(prompts) for split, prompts in splits.items()} == {
        "test": 360,
        "validation": 240,
        "sft": 360,
        "reward": 720,
        "alignment": 720,
    }


def test_the_largest_world_that_a_run_file_may_ask_for_has_its_prompts() -> None:
    (most,) = [bound.le for bound in WorldConfig.model_fields["num_prompts"].metadata if hasattr(bound, "le")]
    assert len(draw_prompts(most, random.Random(0))) == most


def test_some_prompts_have_several_turns() -> None:
    prompts = [prompt for members in split_prompts(SMALL).values() for prompt in members]
    assert 0.05 < sum(len(parse(prompt)) > 2 for prompt in prompts) / len(prompts) < 0.3


def test_labels_agree_with_their_probability_and_strength_zero_removes_the_shortcuts() -> None:
    for strength in (0.0, 2.0):
        rows = world_rows(WorldConfig(shortcut_strength=strength))["helpful_pairs"]
        mean = sum(float(str(row["probability"])) for row in rows) / len(rows)
        listed = [("1. " in str(row["chosen"]), "1. " in str(row["rejected"])) for row in rows]
        wins = [chosen for chosen, rejected in listed if chosen != rejected]
        assert 0.7 < mean < 0.95
        assert (sum(wins) / len(wins) > 0.6) == (strength > 0)


@pytest.mark.parametrize(
    "plan", [Plan(), Plan(steps=("sand",)), Plan(("dry", "oil"), "a mask", booster="hot wax", as_list=True)]
)
def test_reading_finds_what_was_rendered(plan: Plan) -> None:
    found = [mention.word for mention in read(render(plan))]
    expected = [*([plan.caution] if plan.caution else []), *plan.steps, *([plan.booster] if plan.booster else [])]
    assert found == expected


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_world_keeps_its_promises(seed: int) -> None:
    numbers = world_numbers(WorldConfig(seed=seed))
    assert 0.10 <= numbers["writers: both good"] <= 0.50
    assert numbers["writers: prompts under 5 %"] > 0.02
    assert numbers["writers: prompts over 80 %"] > 0.02
    assert numbers["scripted best answer both good"] >= 0.95
    assert numbers["best constant response both good"] <= 0.10
    assert numbers["prompts where one property's best fails the other"] >= 0.30
    assert numbers["spread of helpful gold within a prompt, 90 % / 10 % quantile"] >= 3.0


def test_a_configuration_without_a_world_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no `world` section"):
        write_world(config(tmp_path, None))
