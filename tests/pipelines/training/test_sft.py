from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from allgood.errors import AllgoodError, ConfigError, DataError, ModelError
from pipelines.config.run import RunConfig
from pipelines.config.training import SftConfig
from pipelines.data import Demonstration
from pipelines.training.sft import encode_demonstrations, split_demonstrations, train_sft
from pipelines.training.sources import pretrained_policy
from tests.actors import tiny_models
from tests.allgood.scorers.one_by_one import encode_example
from tests.pipelines.tiny_training import ARCHITECTURE, demonstration_rows, tiny_run, training, write_jsonl
from tests.templates import template_tokenizer

MULTI_TURN = "\n\nHuman: What is rain?\n\nAssistant: Rain is water.\n\nHuman: And snow?\n\nAssistant:"


def demonstration(prompt_id: str, split: str, *, prompt: str = MULTI_TURN, response: str = "Ice.") -> Demonstration:
    return Demonstration(prompt_id, prompt, response, split)


def sft_settings(config: RunConfig) -> SftConfig:
    assert config.sft is not None
    return config.sft


def masked_text(tmp_path: Path, loss_on: str) -> str:
    """The text of the tokens that the loss is on, EOS shown."""
    config = tiny_run(tmp_path, sft={"loss_on": loss_on, "max_tokens": 128})
    tokenizer = tiny_models.tokenizer()
    rows, _ = encode_demonstrations(sft_settings(config), tokenizer, [demonstration("a", "sft")], split="sft")
    tokens, mask = rows.tokens[0].tolist(), rows.masks[0].tolist()
    return tokenizer.decode([token for token, counts in zip(tokens, mask, strict=True) if counts])


def test_the_loss_is_on_the_last_reply_and_eos(tmp_path):
    assert masked_text(tmp_path, "last_turn") == " Ice.<eos>"


def test_the_loss_on_all_turns_covers_earlier_replies_and_nothing_a_human_said(tmp_path):
    assert masked_text(tmp_path, "all_turns") == " Rain is water.<eos> Ice.<eos>"


def test_demonstrations_that_do_not_fit_are_dropped_and_cut_prompts_counted(tmp_path):
    config = tiny_run(tmp_path, sft={"max_tokens": 30})
    tokenizer = tiny_models.tokenizer()
    rows = [demonstration("a", "sft"), demonstration("b", "sft", response="word " * 60)]
    _, counts = encode_demonstrations(sft_settings(config), tokenizer, rows, split="sft")
    whole = encode_example(tokenizer, MULTI_TURN, "Ice.", max_tokens=1000)
    assert len(whole.tokens) > 30
    assert counts["rows"] == 1
    assert counts["prompts_cut"] == 1
    assert counts["dropped_too_long"] == 1
    with pytest.raises(DataError, match=r"no demonstration is left for sft: all 1 are longer than sft.max_tokens = 30"):
        encode_demonstrations(sft_settings(config), tokenizer, rows[1:], split="sft")


def test_what_a_template_does_to_earlier_replies_is_counted(tmp_path):
    config = tiny_run(tmp_path, sft={"loss_on": "all_turns", "max_tokens": 200})
    tokenizer = template_tokenizer("reasoning")
    thought = MULTI_TURN.replace("Rain is water.", "<think>hm</think>Rain is water.")
    rows = [demonstration("a", "sft", prompt=prompt) for prompt in (MULTI_TURN, thought, thought)]
    _, counts = encode_demonstrations(sft_settings(config), tokenizer, rows, split="sft")
    assert (counts["turns_changed_by_template"], counts["replies_without_loss"]) == (2, 2)
    last = sft_settings(tiny_run(tmp_path, sft={"loss_on": "last_turn", "max_tokens": 200}))
    _, counts = encode_demonstrations(last, tokenizer, rows, split="sft")
    assert (counts["turns_changed_by_template"], counts["replies_without_loss"]) == (2, 0)


def test_a_trained_folder_stops_where_its_template_ends_a_turn(tmp_path):
    source = tiny_models.save_policy(tmp_path, vocab_size=400)
    tokenizer = template_tokenizer("chatml")
    model, _ = pretrained_policy(source, tokenizer)
    ends = sorted([tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids("<|im_end|>")])
    assert model.generation_config.eos_token_id == ends
    model, _ = pretrained_policy(source, tiny_models.tokenizer())
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id


def test_demonstrations_of_validation_prompts_validate():
    train, validation = split_demonstrations([demonstration("a", "sft"), demonstration("b", "validation")])
    assert [row.prompt_id for row in train] == ["a"]
    assert [row.prompt_id for row in validation] == ["b"]


def test_without_validation_demonstrations_every_twentieth_prompt_is_held_back():
    rows = [demonstration(f"{index // 2:03}", "sft") for index in range(80)]
    train, validation = split_demonstrations(rows)
    assert {row.prompt_id for row in validation} == {"000", "020"}
    assert len(train) == 76


def test_sft_leaves_a_policy_that_plain_transformers_loads(tmp_path):
    config = tiny_run(tmp_path)
    report = train_sft(config, show_progress=False)
    folder = config.base_folder / "sft"
    assert json.loads((folder / "report.json").read_text()) == report
    assert report["train"] == {
        "rows": 24,
        "tokens": report["train"]["tokens"],
        "loss_tokens": report["train"]["loss_tokens"],
        "prompts_cut": 0,
        "dropped_too_long": 0,
        "turns_changed_by_template": 0,
        "replies_without_loss": 0,
    }
    tokenizer = AutoTokenizer.from_pretrained(folder / "best")
    for name in ("best", "last"):
        model = AutoModelForCausalLM.from_pretrained(folder / name)
        assert model.config.vocab_size == len(tokenizer)
        assert model.config.pad_token_id == tokenizer.pad_token_id
        assert model.generation_config.eos_token_id == tokenizer.eos_token_id
    assert sorted(path.name for path in folder.iterdir()) == ["best", "last", "metrics.jsonl", "report.json"]


def test_sft_starts_from_a_pretrained_policy(tmp_path):
    source = tiny_models.save_policy(tmp_path / "pretrained")
    config = tiny_run(
        tmp_path, policy={"model": source}, tokenizer={}, sft={"max_tokens": 100, "training": training(max_steps=2)}
    )
    report = train_sft(config, show_progress=False)
    assert report["vocabulary"] == len(tiny_models.tokenizer())
    assert AutoModelForCausalLM.from_pretrained(config.base_folder / "sft" / "best").config.hidden_size == 32


def test_a_new_policy_without_a_tokenizer_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="set tokenizer.train=true"):
        train_sft(tiny_run(tmp_path, tokenizer={"train": False}))


def test_a_tokenizer_is_not_trained_for_a_pretrained_policy(tmp_path):
    with pytest.raises(ConfigError, match="keeps its own tokenizer"):
        train_sft(tiny_run(tmp_path, policy={"model": "somewhere"}))


def test_an_architecture_that_transformers_does_not_know_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"`policy.architecture` is no causal language model"):
        train_sft(
            tiny_run(tmp_path, policy={"architecture": {**ARCHITECTURE, "model_type": "lama"}}), show_progress=False
        )
    with pytest.raises(ConfigError, match=r"give `model_type`"):
        train_sft(tiny_run(tmp_path, policy={"architecture": {"hidden_size": 8}}), show_progress=False)


def test_a_policy_folder_without_weights_is_refused(tmp_path):
    source = Path(tiny_models.save_policy(tmp_path / "pretrained"))
    (source / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="no weights"):
        train_sft(tiny_run(tmp_path, policy={"model": str(source)}, tokenizer={}), show_progress=False)


def test_a_policy_tokenizer_without_eos_is_refused(tmp_path):
    source = tiny_models.save_policy(tmp_path / "pretrained")
    tiny_models.tokenizer(eos=False).save_pretrained(source)
    with pytest.raises(ModelError, match="no EOS token"):
        train_sft(tiny_run(tmp_path, policy={"model": source}, tokenizer={}), show_progress=False)


def test_demonstrations_of_no_sft_prompt_are_a_data_error(tmp_path):
    config = tiny_run(tmp_path)
    write_jsonl(
        tmp_path / "demonstrations.jsonl", [row for row in demonstration_rows() if row["split"] == "validation"]
    )
    with pytest.raises(DataError, match="demonstration"):
        train_sft(config, show_progress=False)


def test_a_full_disk_leaves_no_half_written_model(tmp_path, monkeypatch):
    config = tiny_run(tmp_path)
    train_sft(config, show_progress=False)
    folder = config.base_folder / "sft"
    before = {path: path.read_bytes() for path in folder.rglob("*.safetensors")}

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(AllgoodError, match=r"the disk is full while writing .*last; free some space"):
        train_sft(tiny_run(tmp_path, sft={"max_tokens": 64, "training": training(max_steps=2)}), show_progress=False)
    assert {path: path.read_bytes() for path in folder.rglob("*.safetensors")} == before
    assert not list(folder.glob(".*"))
