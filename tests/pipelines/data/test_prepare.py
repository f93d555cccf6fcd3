import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from allgood.conversations import first_human_turn, normalise, prompt_id
from allgood.errors import ConfigError, DataError
from pipelines.config.run import RunConfig
from pipelines.data import PreparedData, load_prepared, prepare, prepare_anew
from pipelines.data.inputs import data_inputs
from pipelines.data.prepare import _not_in_the_key
from tests.pipelines.data.files import data_config, pair_row, prompts_config, question, write_jsonl


@pytest.fixture
def config(tmp_path: Path) -> RunConfig:
    """Two properties, 60 and 50 prompts, 10 of them shared, two pairs each."""
    helpful = [pair_row(i, margin=0.5) for i in range(60) for _ in range(2)]
    harmless = [pair_row(i) for i in range(50, 100) for _ in range(2)]
    pairs = {
        "helpful": write_jsonl(tmp_path / "helpful.jsonl", helpful),
        "harmless": write_jsonl(tmp_path / "harmless.jsonl.gz", harmless),
    }
    return data_config(tmp_path, pairs=pairs)


def split_of_questions(data: PreparedData) -> dict[str, set[str]]:
    splits: dict[str, set[str]] = {}
    rows = [(prompt.text, prompt.split) for prompt in data.prompts]
    rows += [(row.prompt, row.split) for row in data.demonstrations]
    rows += [(pair.prompt, pair.split) for pairs in data.pairs.values() for pair in pairs]
    for text, split in rows:
        splits.setdefault(normalise(first_human_turn(text)), set()).add(split)
    return splits


def test_a_prompt_has_one_split_in_all_sources(config: RunConfig) -> None:
    splits = split_of_questions(prepare(config))
    assert len(splits) == 100
    assert all(len(found) == 1 for found in splits.values())
    assert Counter(next(iter(found)) for found in splits.values()) == {
        "test": 50,
        "validation": 10,
        "sft": 15,
        "reward": 13,
        "alignment": 12,
    }


def test_rows_carry_what_the_files_say(config: RunConfig) -> None:
    data = prepare(config)
    assert [prompt.source for prompt in data.prompts[48:52]] == [
        "helpful",
        "helpful",
        "helpful+harmless",
        "helpful+harmless",
    ]
    assert data.prompts[3].id == prompt_id(question(3))
    pair = data.pairs["helpful"][7]
    assert (pair.prompt, pair.chosen, pair.rejected, pair.margin) == (question(3), "good 3", "bad 3", 0.5)
    assert data.pairs["harmless"][0].margin is None
    assert data.report["prompts"]["in_several_sources"] == {"harmless+helpful": 10}
    assert data.report["pairs"]["helpful"]["repeated_pairs"] == 60


def test_demonstrations_are_chosen_responses_of_sft_and_validation_prompts(config: RunConfig) -> None:
    data = prepare(config)
    expected = [
        (pair.prompt, pair.chosen, pair.split)
        for name in ("helpful", "harmless")
        for pair in data.pairs[name]
        if pair.split in ("sft", "validation")
    ]
    assert [(row.prompt, row.response, row.split) for row in data.demonstrations] == expected


def test_demonstrations_from_a_file_stay_out_of_the_other_splits(tmp_path: Path, config: RunConfig) -> None:
    rows = [{"prompt": question(i), "response": f"r{i}"} for i in range(120)] + [
        {"prompt": question(0), "response": " "}
    ]
    source = {"path": str(write_jsonl(tmp_path / "demonstrations.jsonl", rows))}
    data = prepare(changed(config, demonstrations=source))
    assert {row.split for row in data.demonstrations} == {"sft", "validation"}
    assert all(len(found) == 1 for found in split_of_questions(data).values())
    report = data.report["demonstrations"]
    assert report["rows"] == 121
    assert report["dropped_empty"] == 1
    assert report["left_out_by_split"] == 120 - len(data.demonstrations)


def changed(config: RunConfig, **data: Any) -> RunConfig:
    raw = config.model_dump(exclude_unset=True)
    return RunConfig.model_validate({**raw, "data": {**raw["data"], **data}})


def test_prompts_to_align_on_can_be_those_of_one_property(config: RunConfig) -> None:
    data = prepare(changed(config, prompts_from=["harmless"]))
    assert {prompt.text for prompt in data.prompts} == {question(i) for i in range(50, 100)}
    assert sum(prompt.split == "test" for prompt in data.prompts) == 25


def test_what_is_saved_loads_equal_and_is_reused(config: RunConfig) -> None:
    data = prepare(config)
    folder = config.folder / "data"
    assert {path.name for path in folder.iterdir()} == {
        "manifest.json",
        "prompts.parquet",
        "demonstrations.parquet",
        "pairs.helpful.parquet",
        "pairs.harmless.parquet",
    }
    assert load_prepared(folder) == data
    written = (folder / "manifest.json").stat().st_mtime_ns
    assert prepare(config) == data
    assert (folder / "manifest.json").stat().st_mtime_ns == written


def test_a_change_of_content_seed_or_settings_prepares_again(tmp_path: Path, config: RunConfig) -> None:
    first = prepare(config)
    assert prepare(config.model_copy(update={"seed": 1})).prompts != first.prompts
    assert prepare(config).prompts == first.prompts
    assert len(prepare(changed(config, prompts_from=["helpful"])).prompts) == 60
    write_jsonl(tmp_path / "helpful.jsonl", [pair_row(i) for i in range(30)])
    assert len(prepare(config).pairs["helpful"]) == 30


def test_data_are_not_split_anew_under_trained_models_but_at_the_start_of_a_chain(
    config: RunConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    first = prepare(config)
    (config.folder / "reward" / "helpful" / "best").mkdir(parents=True)
    other = config.model_copy(update={"seed": 1})
    with pytest.raises(ConfigError, match="would split its data otherwise"):
        prepare(other)
    assert prepare(config) == first
    assert prepare_anew(other).prompts != first.prompts
    assert "learned from another split; train them again" in capsys.readouterr().out


def test_a_run_on_a_base_uses_the_base_s_data_as_they_are(tmp_path: Path, config: RunConfig) -> None:
    data = prepare(config)
    arm = config.model_copy(update={"name": "arm", "base": config.folder, "seed": 5})
    (tmp_path / "helpful.jsonl").unlink()
    assert prepare(arm) == data


def test_no_prepared_data_or_damaged_ones_are_an_error(config: RunConfig) -> None:
    folder = config.folder / "data"
    with pytest.raises(DataError, match="there is no prepared data in"):
        load_prepared(folder)
    prepare(config)
    (folder / "prompts.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match="are damaged"):
        load_prepared(folder)
    (folder / "manifest.json").write_text("{")
    with pytest.raises(DataError, match="is damaged"):
        load_prepared(folder)


def test_a_failed_preparation_leaves_nothing_behind(tmp_path: Path, config: RunConfig) -> None:
    write_jsonl(tmp_path / "helpful.jsonl", [pair_row(0), "{broken"])
    with pytest.raises(DataError, match=r"helpful\.jsonl, line 2: broken JSON"):
        prepare(config)
    assert not config.folder.exists()


def test_conflicting_splits_in_the_data_are_refused(tmp_path: Path) -> None:
    rows = [pair_row(0, split="sft"), pair_row(0, split="test")]
    config = data_config(tmp_path, pairs={"helpful": write_jsonl(tmp_path / "pairs.jsonl", rows)})
    with pytest.raises(DataError, match="helpful: the prompt .* stands in the splits 'sft' and 'test'"):
        prepare(config)


def test_settings_that_leave_nothing_to_imitate_or_name_unknown_pairs_are_refused(config: RunConfig) -> None:
    with pytest.raises(ConfigError, match=r"nothing says what SFT imitates: give `data\.demonstrations`"):
        prepare(changed(config, demonstrations_from=[]))
    with pytest.raises(ConfigError, match=r"`data\.prompts_from` names 'honest'; `data\.pairs` has helpful, harmless"):
        prepare(changed(config, prompts_from=["honest"]))


WORLD = {"name": "run", "policy": {"model": "unused"}, "properties": {"helpful": {"kind": "model"}}, "world": {}}


def test_the_world_s_files_are_read_with_their_splits(tmp_path: Path) -> None:
    config = RunConfig.model_validate({**WORLD, "output_dir": tmp_path})
    with pytest.raises(DataError, match=r"the embedded world is missing from .*; run `allgood world`"):
        prepare(config)
    folder = config.folder / "world"
    splits = ["sft", "reward", "alignment", "validation", "test"]
    write_jsonl(folder / "prompts.jsonl", [{"prompt": question(i), "split": split} for i, split in enumerate(splits)])
    write_jsonl(folder / "demonstrations.jsonl", [{"prompt": question(0), "response": "r", "split": "sft"}])
    for name in ("helpful", "harmless"):
        rows = [pair_row(i, split=split, probability=0.7) for i, split in enumerate(splits) if i]
        write_jsonl(folder / f"{name}_pairs.jsonl", rows)
    data = prepare(config)
    assert [prompt.split for prompt in data.prompts] == splits
    assert {name: [pair.split for pair in pairs] for name, pairs in data.pairs.items()} == {
        "harmless": splits[1:],
        "helpful": splits[1:],
    }
    assert [(row.response, row.split) for row in data.demonstrations] == [("r", "sft")]
    manifest = json.loads((config.folder / "data" / "manifest.json").read_text())
    assert manifest["report"]["demonstrations"]["by_split"]["sft"] == 1
    shutil.rmtree(folder)
    assert load_prepared(config.folder / "data") == data


def prompt_rows(numbers: range) -> list[dict[str, Any]]:
    return [{"prompt": question(number)} for number in numbers]


def test_a_list_of_prompts_is_enough(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "prompts.jsonl", [*prompt_rows(range(40)), {"prompt": question(0)}])
    data = prepare(prompts_config(tmp_path, path))
    assert (len(data.prompts), data.pairs, data.demonstrations) == (40, {}, [])
    assert Counter(prompt.split for prompt in data.prompts) == {"alignment": 30, "test": 6, "validation": 4}
    assert {prompt.source for prompt in data.prompts} == {"prompts"}
    assert data.report["prompt_rows"]["repeated"] == 1


def test_prompts_replace_those_of_the_pairs_unless_some_are_named(tmp_path: Path, config: RunConfig) -> None:
    source = {"path": str(write_jsonl(tmp_path / "prompts.jsonl", prompt_rows(range(90, 140))))}
    replaced = prepare(changed(config, prompts=source))
    assert {prompt.text for prompt in replaced.prompts} == {question(i) for i in range(90, 140)}
    assert all(len(found) == 1 for found in split_of_questions(replaced).values())
    added = prepare(changed(config, prompts=source, prompts_from=["helpful"]))
    assert {prompt.text for prompt in added.prompts} == {question(i) for i in [*range(60), *range(90, 140)]}


def test_the_report_shows_what_prompts_share_and_what_was_stripped(tmp_path: Path, config: RunConfig) -> None:
    rows = [*prompt_rows(range(90, 140)), {"prompt": " Tea? "}, {"prompt": [{"role": "user", "content": "Milk?\n"}]}]
    source = {"path": str(write_jsonl(tmp_path / "prompts.jsonl", rows))}
    report = prepare(changed(config, prompts=source)).report
    assert report["prompt_rows"]["stripped"] == 2
    assert report["prompts"]["in_several_sources"] == {"harmless+helpful": 10, "harmless+prompts": 10}
    rows = [{"prompt": question(i), "response": "yes"} for i in range(200, 240)] + [
        {"prompt": "Tea", "response": "no\n"}
    ]
    source = {"path": str(write_jsonl(tmp_path / "demonstrations.jsonl", rows))}
    assert prepare(changed(config, demonstrations=source)).report["demonstrations"]["stripped"] == 1


def test_the_key_of_earlier_settings_stays(config: RunConfig) -> None:
    inputs = data_inputs(config)
    named = inputs.pairs["helpful"].model_copy(update={"columns": {"chosen": "better"}})
    absent = _not_in_the_key(inputs.pairs["helpful"])
    assert absent > {"path", "columns", "attribute"}
    assert absent - _not_in_the_key(named) == {"columns"}


def test_an_empty_split_is_refused_with_its_cause(tmp_path: Path, config: RunConfig) -> None:
    path = write_jsonl(tmp_path / "prompts.jsonl", prompt_rows(range(4)))
    with pytest.raises(DataError, match=r"in the split validation: they are in .*there are 4 different first"):
        prepare(prompts_config(tmp_path, path))
    alike = [f"one two three four five six seven eight nine ten eleven twelve thirteen {i}" for i in range(200)]
    rows = [{"prompt": text, "response": "yes"} for text in alike]
    source = {"path": str(write_jsonl(tmp_path / "demonstrations.jsonl", rows))}
    cause = (
        r"none of the 200 demonstrations has a prompt of the sft split: they are in (reward|alignment) \(200\), and of "
        r"300 different first questions in all many are near-duplicates, .*: 101 groups, the largest with 200; give"
    )
    with pytest.raises(DataError, match=cause):
        prepare(changed(config, demonstrations=source))
    empty = {"path": str(write_jsonl(tmp_path / "empty.jsonl", [{"prompt": "a", "response": " "}]))}
    with pytest.raises(DataError, match="the response is empty in all of the 1 demonstrations"):
        prepare(changed(config, demonstrations=empty))
