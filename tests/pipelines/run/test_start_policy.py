"""Where pi_0 is, with SFT and without, alone and on a base."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from allgood.errors import ConfigError, ModelError
from pipelines.cast.request import align_request
from pipelines.config.loading import load_config, save_config
from pipelines.config.run import RunConfig
from pipelines.references.keys import table_keys
from pipelines.run.start_policy import StartPolicy, start_policy
from pipelines.training.sft import train_sft
from tests.actors.tiny_models import save_policy
from tests.pipelines.tiny_run import tiny_config


def without_sft(folder: Path, model: object, **changes: object) -> RunConfig:
    return tiny_config(folder, sft=None, policy={"model": str(model)}, **changes)


def test_with_sft_it_is_the_policy_that_was_trained_in_the_base_folder(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no SFT policy in .*sft/best; train it with `allgood sft CONFIG`, or set"):
        start_policy(tiny_config(tmp_path))
    folder = save_policy(tmp_path / "base" / "sft" / "best")
    assert start_policy(tiny_config(tmp_path)) == StartPolicy(folder)


def test_without_sft_it_is_the_model_of_the_run_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_policy(tmp_path / "chat")
    monkeypatch.chdir(tmp_path)
    assert start_policy(without_sft(tmp_path, "chat")) == StartPolicy(str(tmp_path / "chat"))  # actors run elsewhere
    assert start_policy(without_sft(tmp_path, "some/instruct-model")) == StartPolicy("some/instruct-model")


def test_every_role_and_every_key_of_a_run_without_sft_is_of_its_model(tmp_path: Path) -> None:
    model = save_policy(tmp_path / "chat")
    save_policy(tmp_path / "base" / "sft" / "best", seed=1)  # of something else, and nobody looks at it
    config = without_sft(tmp_path, model, base=None)
    request = align_request(config)
    parts = (request.rollout, request.learner, request.reference_policy)
    assert [part.spec.model for part in parts if part] == [model] * 3
    keys = table_keys(config, [])
    assert keys["policy"] == StartPolicy(model).weights_key
    save_policy(tmp_path / "chat", seed=2)
    assert table_keys(config, [])["policy"] != keys["policy"]
    assert table_keys(config, [])["tokenizer"] == keys["tokenizer"]


def test_a_base_that_starts_from_another_policy_is_refused(tmp_path: Path) -> None:
    model, other = save_policy(tmp_path / "chat"), save_policy(tmp_path / "other", seed=1)
    base = without_sft(tmp_path, model, name="base", output_dir=tmp_path, base=None)
    save_config(base, base.folder / "config.yaml")
    assert start_policy(without_sft(tmp_path, model)) == start_policy(base)
    shutil.copytree(model, tmp_path / "moved")
    assert start_policy(without_sft(tmp_path, tmp_path / "moved")).weights_key == start_policy(base).weights_key
    with pytest.raises(ConfigError, match=r"starts from .*other, but its base .*base starts from .*chat, another"):
        start_policy(without_sft(tmp_path, other))


def test_a_base_with_an_sft_policy_is_no_base_of_a_run_that_starts_from_another_model(tmp_path: Path) -> None:
    save_policy(tmp_path / "base" / "sft" / "best")
    model = save_policy(tmp_path / "chat", seed=1)
    with pytest.raises(ConfigError, match=r"its base .* starts from .*base/sft/best, another model"):
        start_policy(without_sft(tmp_path, model))


def test_sft_of_a_run_without_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"this run has no SFT \(`sft: null`\): it starts from chat as it is"):
        train_sft(without_sft(tmp_path, "chat"))


@pytest.mark.parametrize(
    ("overrides", "key"),
    [
        ([], "policy.architecture"),
        (["policy={model: some/model}"], "tokenizer.train"),
        (["world=null", "data.demonstrations.path=a.jsonl"], "demonstrations"),
        (["world=null", "data.demonstrations_from=[helpful]"], "demonstrations_from"),
    ],
)
def test_what_only_sft_would_use_is_refused_without_it(overrides: list[str], key: str) -> None:
    given = ["policy={model: some/model}", "tokenizer.train=false"] if "world=null" in overrides else []
    pairs = ["data.pairs={helpful: {path: a.jsonl}, harmless: {path: a.jsonl}}"] if given else []
    with pytest.raises(ConfigError, match=rf"`sft: null` starts from `policy.model` as it is, .* leave out .*{key}`"):
        load_config(Path("configs/quickstart.yaml"), ["sft=null", *given, *pairs, *overrides])
