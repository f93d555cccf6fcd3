"""`allgood init` on tiny local models: what it writes loads, and its data can be prepared."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from allgood.errors import AllgoodError
from pipelines.config.loading import load_config
from pipelines.config.properties import ClassifierProperty, ModelProperty
from pipelines.data import prepare_anew
from pipelines.new_run.run_file import new_run_file
from tests.pipelines.inspection.instruct_run import save_classifier
from tests.pipelines.tiny_instruct import save_instruct, save_reward_models, write_prompts


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("new_run")
    save_instruct(made / "tiny instruct")
    save_reward_models(made)
    save_classifier(made / "classifier")
    write_prompts(made / "prompts.jsonl")
    return made


def written(folder: Path, **changes: object) -> str:
    arguments: dict[str, object] = {
        "policy": str(folder / "tiny instruct"),
        "prompts": str(folder / "prompts.jsonl"),
        "rewards": [f"helpful={folder / 'helpful'}", f"harmless={folder / 'classifier'}"],
    }
    return new_run_file(**arguments | changes)  # type: ignore[arg-type]


def test_what_is_written_loads_and_its_data_can_be_prepared(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text(written(folder), encoding="utf-8")
    config = load_config(tmp_path / "run.yaml", [f"output_dir={tmp_path}"])
    assert config.name == "tiny-instruct-aligned"
    assert config.sft is None
    assert (config.sampling.max_prompt_tokens, config.sampling.max_new_tokens) == (192, 64)  # it reads 256
    helpful, harmless = config.properties["helpful"], config.properties["harmless"]
    assert isinstance(helpful, ModelProperty)
    assert helpful.max_tokens == 320  # a quarter more than the policy has: its tokens are others
    assert isinstance(harmless, ClassifierProperty)
    assert harmless.label == 1
    assert len(prepare_anew(config).prompts) == 40


def test_it_is_short_and_says_why(folder: Path) -> None:
    text = written(folder)
    assert len(text.splitlines()) < 60
    assert "the policy reads 256 at most" in text
    assert "a response ends at <eos> or <|im_end|>" in text
    assert "check it: 0 is LABEL_0, 1 is LABEL_1" in text
    assert "by the formula of `allgood inspect`" in text


def test_a_column_of_another_name_is_found(folder: Path, tmp_path: Path) -> None:
    rows = [{"id": number, "instruction": f"Name river {number}."} for number in range(24)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    text = written(folder, prompts=str(tmp_path / "rows.jsonl"))
    assert "columns: {prompt: instruction}" in text


def test_a_value_that_yaml_would_read_otherwise_stands_in_quotes(folder: Path, tmp_path: Path) -> None:
    odd = tmp_path / "1e3: yes #2"
    shutil.copytree(folder / "helpful", odd)
    text = written(folder, rewards=[f"helpful={odd}"])
    (tmp_path / "run.yaml").write_text(text, encoding="utf-8")
    (helpful,) = load_config(tmp_path / "run.yaml").properties.values()
    assert isinstance(helpful, ModelProperty)
    assert helpful.model == str(odd)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"rewards": ["helpful"]}, "'helpful' must read property=model"),
        ({"rewards": ["very helpful=x"]}, "'very helpful' is no name of a property"),
        ({"rewards": ["a=x", "a=y"]}, "gives 'a' twice"),
        ({"rewards": ["helpful=./absent"]}, "--reward helpful: .*absent"),
        ({"rewards": ["helpful=no/such-model-here"]}, "--reward helpful: .*no/such-model-here"),
        ({"policy": "./absent"}, "absent"),
        ({"prompts": "absent.jsonl"}, "there is no data file absent.jsonl"),
        ({"prompts": "no/such-dataset"}, "no dataset 'no/such-dataset'"),
    ],
)
def test_a_bad_name_is_one_sentence(folder: Path, changes: dict[str, object], sentence: str) -> None:
    with pytest.raises(AllgoodError, match=sentence) as refused:
        written(folder, **changes)
    assert "\n" not in str(refused.value)


def test_a_reward_model_as_policy_and_a_policy_as_reward_model_are_refused(folder: Path) -> None:
    with pytest.raises(AllgoodError, match="which judges texts and writes none"):
        written(folder, policy=str(folder / "helpful"))
    with pytest.raises(AllgoodError, match=r"--reward helpful: .*is no sequence classifier but Qwen2ForCausalLM"):
        written(folder, rewards=[f"helpful={folder / 'tiny instruct'}"])


def test_prompts_without_a_column_for_them_are_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(json.dumps({"id": 1, "answer": "x"}) + "\n")
    with pytest.raises(AllgoodError, match="prompt"):
        written(folder, prompts=str(tmp_path / "rows.jsonl"))
