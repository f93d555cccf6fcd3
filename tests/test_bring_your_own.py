"""The commands of docs/how-to/bring_your_own.md, in their order, with tiny models in the places of the named ones."""

from __future__ import annotations

import html
import json
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import yaml
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig
from typer.testing import CliRunner

from docs.check import commands_of
from pipelines.cli import app
from pipelines.config.loading import load_config
from tests.pages import ROOT
from tests.pipelines.tiny_instruct import EOS, save_instruct, save_reward_models, write_prompts

PAGE = ROOT / "docs" / "how-to" / "bring_your_own.md"
FILE = Path("configs") / "bring_your_own.yaml"
CPU = {"cpus": 0.1, "gpus": 0}

Said = dict[str, str]  # what a command printed, by its name


def tiny_file(folder: Path) -> None:
    """The run file with its names replaced, for a CPU, and short."""
    run = yaml.safe_load((ROOT / FILE).read_text(encoding="utf-8"))
    run["policy"]["model"] = save_instruct(folder / "instruct")
    run["data"]["prompts"]["path"] = write_prompts(folder / "prompts.jsonl")
    for name, model in save_reward_models(folder).items():
        run["properties"][name] |= {"model": model, "placement": CPU}
    run["placement"] = dict.fromkeys(run["placement"], CPU)
    run["sampling"] |= {"max_new_tokens": 8, "max_prompt_tokens": 128}
    run["references"]["num_samples"] = 4
    run["align"] |= {"steps": 2, "prompts_per_step": 4, "evaluate_every": 2, "max_evaluation_prompts": 3}
    run["align"]["optimizer"] |= {"learning_rate": 1e-3, "warmup_steps": 0}
    run["evaluate"] = {"prompts": 4, "samples_per_prompt": 2, "sft_samples_per_prompt": 2, "bootstrap": 100}
    run["tracking"] = {"wandb": "disabled"}
    (folder / FILE.parent).mkdir()
    (folder / FILE).write_text(yaml.safe_dump(run), encoding="utf-8")


def local_names(folder: Path) -> Mapping[str, str]:
    """What stands here for the names on the hub."""
    run, tiny = (yaml.safe_load((place / FILE).read_text(encoding="utf-8")) for place in (ROOT, folder))
    return {
        run["policy"]["model"]: tiny["policy"]["model"],
        run["data"]["prompts"]["path"]: tiny["data"]["prompts"]["path"],
        **{setting["model"]: tiny["properties"][name]["model"] for name, setting in run["properties"].items()},
    }


@pytest.fixture(scope="module")
def folder(ray_cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the commands run."""
    folder = tmp_path_factory.mktemp("mine")
    tiny_file(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder


@pytest.fixture(scope="module")
def said(folder: Path) -> Said:
    said = {}
    local = local_names(folder)
    for command in commands_of(PAGE.read_text(encoding="utf-8")):
        words, _, file = command.partition(" > ")
        _, name, *arguments = shlex.split(
            re.sub(r"[\w-]+/[\w.-]+", lambda found: local.get(found[0], found[0]), words), comments=True
        )
        result = CliRunner().invoke(app, [name, *arguments])
        assert result.exit_code == 0, (command, result.output, result.exception)
        said[name] = result.output
        if file:
            Path(file).write_text(result.stdout, encoding="utf-8")
    return said


def test_the_file_of_the_page_is_the_one_in_configs() -> None:
    shown = yaml.safe_load(re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[0])
    held = load_config(ROOT / FILE).model_dump(mode="json")
    assert held["sft"] is shown["sft"] is None
    assert held["policy"]["model"] == shown["policy"]["model"]
    assert held["data"]["prompts"]["path"] == shown["data"]["prompts"]["path"]
    assert {name: held["properties"][name]["model"] for name in shown["properties"]} == {
        name: setting["model"] for name, setting in shown["properties"].items()
    }


def test_a_file_that_init_writes_names_the_same_models(folder: Path, said: Said) -> None:
    ours, written = (load_config(folder / file) for file in (FILE, "my_run.yaml"))
    assert written.sft is None
    assert written.policy == ours.policy
    assert {name: setting.model_dump()["model"] for name, setting in written.properties.items()} == {
        name: setting.model_dump()["model"] for name, setting in ours.properties.items()
    }


def test_the_chain_has_no_stage_that_trains_something_else(said: Said) -> None:
    stages = re.findall(r"^\[\d/5\] (\w+)$", said["chain"], re.MULTILINE)
    assert stages == ["data", "reference", "align", "evaluate", "report"]


def test_no_word_speaks_of_sft_where_there_is_none(folder: Path, said: Said) -> None:
    run = folder / "runs" / "bring_your_own"
    report = re.sub(r'"data:[^"]*"', "", html.unescape((run / "report.html").read_text(encoding="utf-8")))
    assert f"π0, the start policy, is {folder}/instruct as it is, without SFT." in report
    card = (run / "model" / "README.md").read_text(encoding="utf-8")
    words = "\n".join([report, card, said["chain"], said["generate"], said["preview"]])
    assert set(re.findall(r"[^\n]{0,40}\bSFT\b", words.replace("as it is, without SFT", ""))) == set()


def test_the_aligned_model_keeps_all_but_the_weights_and_their_dtype(folder: Path, said: Said) -> None:
    before, after = folder / "instruct", folder / "runs" / "bring_your_own" / "model"
    ours, theirs = (json.loads((place / "config.json").read_text(encoding="utf-8")) for place in (after, before))
    assert {key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key)} == {"dtype"}
    assert (ours["dtype"], theirs["dtype"]) == ("float32", "bfloat16")
    assert GenerationConfig.from_pretrained(after) == GenerationConfig.from_pretrained(before)
    assert GenerationConfig.from_pretrained(after).eos_token_id[1] == EOS
    tokenizer, given = AutoTokenizer.from_pretrained(after), AutoTokenizer.from_pretrained(before)
    assert tokenizer.chat_template == given.chat_template
    assert (tokenizer.pad_token, tokenizer.eos_token) == (given.pad_token, given.eos_token)
    model = AutoModelForCausalLM.from_pretrained(after)
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    weights, start = load_file(after / "model.safetensors"), load_file(before / "model.safetensors")
    assert weights.keys() == start.keys()
    assert any(not weights[name].equal(start[name].float()) for name in start)
