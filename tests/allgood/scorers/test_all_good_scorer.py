"""One call scores responses in all properties; a row that fails says why, and never becomes a number."""

from __future__ import annotations

import asyncio
import math
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from allgood.conversations import prompt_id
from allgood.errors import ReferenceTableError
from allgood.objectives import WeightedSum
from allgood.scorers.all_good_scorer import AllGoodScorer
from allgood.scorers.reference_files import References, load_references, save_references
from allgood.scorers.rewards_spec import PropertySpec, ReferenceFrom, ReferenceSpec, RewardsSpec
from allgood.scorers.spec import FunctionSpec, ModelSpec
from tests.actors.tiny_models import save_scorer

TEA, MATE = "What is tea?", "What is mate?"
TEA_ID = prompt_id(f"\n\nHuman: {TEA}\n\nAssistant:")
LENGTH = FunctionSpec("tests.allgood.scorers.test_all_good_scorer:length")


def length(prompts: Sequence[str], responses: Sequence[str]) -> list[float]:
    """Letters; fails on a response with a question mark."""
    return [math.nan if "?" in response else float(len(response)) for response in responses]


def scorer_with(reference: ReferenceSpec, *, penalty: float = 0.0, minimum: float = 0.0) -> AllGoodScorer:
    spec = RewardsSpec(
        {"long": PropertySpec(LENGTH, reference, "identity")}, WeightedSum({"long": 1.0}), penalty, None, minimum
    )
    return AllGoodScorer(spec)


@pytest.fixture
def table(tmp_path: Path) -> str:
    save_references(References({TEA_ID: 3.0}), tmp_path / "table.safetensors")
    return str(tmp_path / "table.safetensors")


def test_references_come_from_the_first_source_that_knows_the_prompt(table: str) -> None:
    scores = scorer_with(ReferenceSpec(table=table, fallback=1.0)).score([TEA, MATE, TEA], ["hot", "hot", "tepid"])
    assert scores.total.tolist() == [0.0, 2.0, 2.0]  # 3 - 3, 3 - 1, 5 - 3
    assert scores.reference_from["long"] == ("table", "fallback", "table")
    assert scores.share_in_table == 0.5
    assert scores.reasons == (None, None, None)


def test_canned_replies_are_scored_for_other_prompts(table: str) -> None:
    scores = scorer_with(ReferenceSpec(table=table, replies=("No", "Never", "?"))).score([MATE], ["a drink"])
    assert scores.properties["long"].references.tolist() == [3.5]  # of 2 and 5; the third has no score
    assert scores.reference_from["long"] == ("replies",)


class Samples:
    """References from samples that somebody drew."""

    name: ReferenceFrom = "samples"

    def find(self, prompts: Mapping[str, str]) -> References:
        return References({key: 2.0 for key, text in prompts.items() if "mate" in text})


def test_fresh_samples_are_asked_where_the_table_knows_nothing(table: str) -> None:
    spec = scorer_with(ReferenceSpec(table=table)).spec
    scores = AllGoodScorer(spec, samples={"long": Samples()}).score([TEA, MATE, "Why?"], ["abc"] * 3)
    assert scores.reference_from["long"] == ("table", "samples", "nowhere")
    assert scores.total.tolist()[:2] == [0.0, 1.0]
    assert not scores.ok[2]


def test_a_row_that_fails_has_no_number_and_a_reason(table: str) -> None:
    scorer = scorer_with(ReferenceSpec(table=table))
    prompts = [TEA, TEA, MATE, "<|im_start|>user\nHi<|im_end|>", TEA]
    scores = scorer.score(prompts, ["fine", "why?", "fine", "fine", "<|im_end|>"])
    assert scores.ok.tolist() == [True, False, False, False, False]
    assert np.isnan(scores.total[1:]).all()
    starts = ["long: scoring failed", "long: the prompt has no reference", "`prompt` is neither", "`response` ends in"]
    for reason, start in zip(scores.reasons[1:], starts, strict=True):
        assert reason is not None
        assert reason.startswith(start)
    assert scores.prompt_ids[3] is None
    row = scores.answer()["rows"][2]
    assert (row["ok"], row["utility"]) == (False, None)
    assert row["properties"]["long"]["reward"] == 4.0  # known, though nobody knows what it is worth


def test_a_minimum_share_of_known_prompts_is_enforced(table: str) -> None:
    scorer = scorer_with(ReferenceSpec(table=table, fallback=0.0), minimum=1.0)
    assert scorer.score([TEA], ["a"]).share_in_table == 1.0
    with pytest.raises(ReferenceTableError, match="1 of 2 prompts are not in the reference table"):
        scorer.score([MATE], ["a"])


def test_a_cut_answer_loses_the_penalty_and_somebody_must_say_which_was_cut() -> None:
    scorer = scorer_with(ReferenceSpec(constant=1.0), penalty=0.5)
    scores = scorer.score([TEA, TEA], ["abc", "abc"], was_cut=np.array([True, False]))
    assert scores.total.tolist() == [1.5, 2.0]
    with pytest.raises(ValueError, match="was_cut must say which"):
        scorer.score([TEA], ["abc"])


def test_any_number_of_rows_also_none() -> None:
    scorer = scorer_with(ReferenceSpec(constant=1.0))
    assert scorer.score([], []).total.shape == (0,)
    assert scorer.score([TEA] * 1000, ["abc"] * 1000).total.tolist() == [2.0] * 1000
    with pytest.raises(ValueError, match="2 prompts, but 1 responses"):
        scorer.score([TEA, TEA], ["a"])


def test_async_calls_and_copies_in_other_processes_give_the_same(tmp_path: Path) -> None:
    spec = RewardsSpec(
        {"liked": PropertySpec(ModelSpec(save_scorer(tmp_path / "scorer"), device="cpu"), ReferenceSpec(constant=0.5))},
        WeightedSum({"liked": 1.0}),
    )
    scorer = AllGoodScorer(spec)
    given = ([TEA, MATE], ["A drink.", "Another one, from a gourd."])
    expected = scorer.score(*given)

    async def together() -> list[bytes]:
        found = await asyncio.gather(*(scorer.score_async(*given) for _ in range(3)))
        return [scores.total.tobytes() for scores in found]

    assert asyncio.run(together()) == [expected.total.tobytes()] * 3
    assert pickle.loads(pickle.dumps(scorer)).score(*given).answer() == expected.answer()
    too_long = scorer.score([TEA], ["word " * 2000])
    assert too_long.reasons == ("liked: the response is longer than the model reads (max_tokens)",)


def test_a_reference_file_holds_values_and_draws(tmp_path: Path) -> None:
    path = tmp_path / "table.safetensors"
    draws = {TEA_ID: np.array([1.0, 2.0], dtype=np.float32)}
    save_references(References({TEA_ID: 0.1}, draws), path)
    found = load_references(path)
    assert found.values == {TEA_ID: 0.1}
    assert found.draws[TEA_ID].tolist() == [1.0, 2.0]
    path.write_bytes(b"nothing")
    with pytest.raises(ReferenceTableError, match="no file of reference points"):
        load_references(path)
