"""What the README of an aligned model says about where it comes from."""

from __future__ import annotations

from pathlib import Path

from pipelines.alignment.model_card import model_card
from pipelines.alignment.setup import initial_state
from pipelines.config.run import RunConfig
from tests.pipelines.tiny_run import tiny_config


def card(config: RunConfig) -> str:
    return model_card(config, initial_state(config), {})


def test_a_policy_that_was_trained_first_comes_from_sft(tmp_path: Path) -> None:
    text = card(tiny_config(tmp_path))
    assert text.startswith("---\nlibrary_name: transformers\npipeline_tag: text-generation\n")
    assert "learning\nfrom the SFT policy.\n" in text


def test_a_policy_that_was_given_is_named_with_its_commit_and_linked(tmp_path: Path) -> None:
    text = card(tiny_config(tmp_path, sft=None, policy={"model": "owner/instruct", "revision": "1" * 40}))
    assert text.startswith("---\nlibrary_name: transformers\nbase_model: owner/instruct\npipeline_tag: ")
    assert f"learning\nfrom owner/instruct@{'1' * 40} as it is, without SFT.\n" in text
