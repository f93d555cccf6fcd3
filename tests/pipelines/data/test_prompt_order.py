"""Which prompts a run uses when it uses fewer than there are."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allgood.errors import ConfigError
from pipelines.config.run import RunConfig
from pipelines.data import Prompt
from pipelines.data.prompt_order import of_split, prompts_of, run_prompts
from tests.pipelines.tiny_run import tiny_config


def prompts(counts: dict[str, int], split: str = "test") -> list[Prompt]:
    """Prompts file after file, as they are prepared."""
    return [
        Prompt(f"{source}-{number}", f"{source} {number}", split, source)  # type: ignore[arg-type]
        for source, count in counts.items()
        for number in range(count)
    ]


def test_a_short_start_of_a_split_holds_every_source_in_proportion() -> None:
    found = of_split(prompts({"helpful": 300, "harmless": 100}), "test")
    assert Counter(prompt.source for prompt in found[:40]) == {"helpful": 30, "harmless": 10}


@given(st.dictionaries(st.sampled_from("abcde"), st.integers(1, 40), min_size=1), st.data())
def test_any_start_is_in_proportion_to_a_prompt_per_source(counts: dict[str, int], data: st.DataObject) -> None:
    everyone = prompts(counts)
    size = data.draw(st.integers(0, len(everyone)))
    found = Counter(prompt.source for prompt in of_split(everyone, "test")[:size])
    for source, count in counts.items():
        assert abs(found[source] - size * count / len(everyone)) <= len(counts)


def test_one_source_keeps_its_order_and_other_splits_are_left_out() -> None:
    everyone = [*prompts({"a": 5}), *prompts({"b": 3}, split="sft")]
    assert of_split(everyone, "test") == everyone[:5]


def with_references(short: dict[str, Any], vowels: dict[str, Any]) -> RunConfig:
    rules = {"short": short, "vowels": vowels}
    properties = {
        name: {"kind": "function", "function": f"tests.pipelines.tiny_rewards:{name}", "reference": reference}
        for name, reference in rules.items()
    }
    return tiny_config(Path("runs"), properties=properties, references={"max_prompts": {"test": 4}})


def test_predicted_references_alone_do_not_change_the_prompts_of_a_run() -> None:
    predicted = {"kind": "predicted", "encoder": "e"}
    config = with_references(predicted, predicted)
    everyone = prompts({"a": 9})
    assert run_prompts(config, everyone, "test") == prompts_of(config, everyone, "test") == everyone[:4]


def test_a_run_with_all_prompts_goes_beyond_those_sampled() -> None:
    config = with_references({"kind": "predicted", "encoder": "e", "prompts": "all"}, {"kind": "none"})
    assert run_prompts(config, prompts({"a": 9}), "test") == prompts({"a": 9})


def test_all_prompts_are_refused_where_another_property_needs_samples_of_each() -> None:
    config = with_references({"kind": "predicted", "encoder": "e", "prompts": "all"}, {"kind": "mean"})
    with pytest.raises(ConfigError, match="the mean reference of vowels needs samples of each prompt"):
        run_prompts(config, prompts({"a": 9}), "test")
