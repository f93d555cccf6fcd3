"""Where prompts lie on the hub: subset, split and column, looked up without loading the dataset."""

from __future__ import annotations

from types import SimpleNamespace

import datasets
import pytest

from allgood.errors import DataError
from pipelines.new_run.prompts import PromptFacts, prompt_facts


def on_the_hub(patch: pytest.MonkeyPatch, subsets: list[str], splits: list[str], columns: list[str] | None) -> None:
    """Answers of the hub's API."""
    info = SimpleNamespace(features=None if columns is None else dict.fromkeys(columns))
    patch.setattr(datasets, "get_dataset_config_names", lambda name: subsets)
    patch.setattr(datasets, "get_dataset_split_names", lambda name, subset: splits)
    patch.setattr(datasets, "load_dataset_builder", lambda name, subset: SimpleNamespace(info=info))


def test_a_dataset_with_a_usual_column_and_split(monkeypatch: pytest.MonkeyPatch) -> None:
    on_the_hub(monkeypatch, ["default"], ["test", "train"], ["id", "instruction"])
    assert prompt_facts("owner/rows") == PromptFacts("owner/rows", "instruction", None, "train")


def test_one_of_several_subsets_is_taken_and_the_others_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    on_the_hub(monkeypatch, ["easy", "hard"], ["test_prefs", "train_prefs"], ["prompt"])
    found = prompt_facts("owner/rows")
    assert (found.hub_subset, found.hub_split, found.column) == ("easy", "train_prefs", "prompt")
    assert "other subsets: hard" in found.unsure


def test_columns_that_nobody_knows_before_loading_are_said_to_be_so(monkeypatch: pytest.MonkeyPatch) -> None:
    on_the_hub(monkeypatch, ["default"], ["train"], None)
    assert "not known before it is loaded" in prompt_facts("owner/rows").unsure


def test_a_dataset_without_a_column_of_prompts_is_refused_with_its_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    on_the_hub(monkeypatch, ["default"], ["train"], ["image", "caption"])
    with pytest.raises(DataError, match="it has image, caption"):
        prompt_facts("owner/rows")
