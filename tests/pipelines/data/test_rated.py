from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from allgood.errors import DataError
from pipelines.config.data import PairSource
from pipelines.config.run import RunConfig
from pipelines.data import prepare
from pipelines.data.formats import RawPair
from pipelines.data.pairs import read_pairs
from pipelines.data.prepared import Report
from pipelines.data.rated import rated_pairs
from pipelines.data.sources import Row
from tests.pipelines.data.files import data_config, write_jsonl


def read(
    folder: Path, rows: list[dict[str, Any]], attribute: str = "help", **settings: Any
) -> tuple[list[RawPair], Report]:
    path = write_jsonl(folder / "rated.jsonl", rows)
    return read_pairs(PairSource(path=str(path), format="rated", attribute=attribute, **settings))


def said(pairs: list[RawPair]) -> list[tuple[str, str, float | None]]:
    return [(pair.chosen, pair.rejected, pair.margin) for pair in pairs]


def test_each_two_answers_with_different_ratings_make_a_pair(tmp_path: Path) -> None:
    answers = [{"text": "a", "help": 3}, {"text": "b", "help": 1.5}, {"text": "c", "help": 3}, {"text": "d"}]
    pairs, report = read(tmp_path, [{"prompt": "Tea?", "responses": answers, "id": 4}])
    assert said(pairs) == [("a", "b", 1.5), ("c", "b", 1.5)]  # a and c tie, d has no rating
    assert {pair.prompt for pair in pairs} == {"\n\nHuman: Tea?\n\nAssistant:"}
    assert report == {
        "format": "rated",
        "rows": 1,
        "answers": 4,
        "dropped_unrated_answers": 1,
        "dropped_ties": 1,
        "dropped_equal_responses": 0,
        "dropped_prompts_without_a_pair": 0,
        "pairs": 2,
        "repeated_pairs": 0,
        "contradicting_pairs": 0,
        "pairs_with_an_empty_response": 0,
        "pairs_with_margin": 2,
        "prompts": 1,
        "stripped": 0,
        "unread_columns": "id",
    }


def test_answers_of_one_prompt_meet_wherever_their_rows_stand(tmp_path: Path) -> None:
    rows = [
        {"prompt": "Tea?", "response": "a", "help": 4, "terse": 0},
        {"prompt": "Milk?", "response": "x", "help": 1, "terse": 0},
        {"prompt": "Tea?", "response": [{"role": "assistant", "content": "b"}], "help": 2, "terse": 3},
        {"prompt": "Milk?", "response": "x", "help": 2, "terse": 1},
    ]
    pairs, report = read(tmp_path, rows)
    assert said(pairs) == [("a", "b", 2.0)]
    assert (report["dropped_equal_responses"], report["dropped_prompts_without_a_pair"]) == (1, 1)
    assert said(read(tmp_path, rows, "terse")[0]) == [("b", "a", 3.0)]


ANNOTATED = {"annotations": {"help": {"Rating": "4", "Rationale": "why"}}}
GOOD_ROWS: list[tuple[str, dict[str, Any]]] = [
    (
        "help",
        {
            "responses": [
                {"response": "a", **ANNOTATED},
                {"response": "b", "annotations": {"help": {"Rating": "N/A"}}},
                {"response": "c", "annotations": {"help": {"Rating": "1"}}},
            ]
        },
    ),
    ("scores.help", {"responses": [{"text": "a", "scores": {"help": 4}}, {"text": "c", "scores": {"help": 1}}]}),
    ("help", {"responses": ["a", None, "c"], "help": [4, 9, 1]}),
    ("rated.help", {"responses": [{"role": "assistant", "content": "a"}, "c"], "rated": {"help": [4, 1]}}),
]


@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.sampled_from("abc"), st.one_of(st.none(), st.integers(0, 3))),
        max_size=12,
    )
)
def test_every_two_answers_to_a_prompt_are_a_pair_or_are_counted(drawn: list[tuple[int, str, int | None]]) -> None:
    rows = [*drawn, (3, "a", 1), (3, "b", 2)]  # at least one pair
    read = [
        Row(f"row {number}", {"prompt": f"Tea {prompt}?", "response": text, "help": rating})
        for number, (prompt, text, rating) in enumerate(rows)
    ]
    numbers = [sum(1 for row in rows if row[0] == prompt and row[2] is not None) for prompt in range(4)]
    pairs, report = rated_pairs(read, "help", path="rows")
    dropped = report["dropped_ties"] + report["dropped_equal_responses"]
    assert len(pairs) + dropped == sum(number * (number - 1) // 2 for number in numbers)
    assert report["dropped_unrated_answers"] + sum(numbers) == report["answers"] == len(rows)
    assert all(pair.margin is not None and pair.margin > 0 for pair in pairs)


@pytest.mark.parametrize(("attribute", "row"), GOOD_ROWS)
def test_ratings_are_found_in_the_answers_or_in_the_row(tmp_path: Path, attribute: str, row: dict[str, Any]) -> None:
    assert said(read(tmp_path, [{"prompt": "Tea?", **row}], attribute)[0]) == [("a", "c", 3.0)]


def test_columns_and_a_system_turn_of_rated_rows(tmp_path: Path) -> None:
    answers = [{"response": "a", "help": 2}, {"response": "b", "help": 1}]
    rows = [{"instruction": "Tea?", "persona": "Be brief.", "completions": answers, "prompt": 3}]
    columns = {"prompt": "instruction", "responses": "completions", "system": "persona"}
    pairs, _ = read(tmp_path, rows, columns=columns)
    assert pairs[0].prompt == "\n\nSystem: Be brief.\n\nHuman: Tea?\n\nAssistant:"


def test_all_answers_of_a_prompt_are_in_one_split(tmp_path: Path) -> None:
    rows = [{"prompt": f"w{i} x{i} y{i}", "response": f"{i} {j}", "help": j} for j in range(3) for i in range(40)]
    path = write_jsonl(tmp_path / "rated.jsonl", rows)
    config = data_config(tmp_path, pairs={"helpful": path})
    source = {"path": str(path), "format": "rated", "attribute": "help"}
    raw = config.model_dump(exclude_unset=True)
    data = prepare(RunConfig.model_validate({**raw, "data": {**raw["data"], "pairs": {"helpful": source}}}))
    splits = {(pair.prompt, pair.split) for pair in data.pairs["helpful"]}
    assert (len(data.pairs["helpful"]), len(splits)) == (120, 40)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            {"responses": [{"text": "a", "kind": 1}]},
            "no answer has a number under `attribute` 'help'; .* an answer has `text`, `kind`",
        ),
        (
            {"responses": [{"text": "a", "help": 1}, {"text": "b", "help": 1}]},
            "no two answers .*: 1 prompts, 2 rated answers, 1 ties",
        ),
        ({"responses": ["a", "b"], "help": [1]}, "line 1: `help` must have one rating for each answer"),
        (
            {"responses": [{"words": "a", "help": 1}]},
            "line 1: an answer has its text in none of text, .*; it has `words`",
        ),
        ({"responses": "a"}, "line 1: `responses` must be a list of answers, not str"),
        ({"answers": ["a"]}, "line 1: there is neither `response` nor `responses`; the row has `prompt`, `answers`"),
    ],
)
def test_rows_without_pairs_are_refused_with_what_is_there(tmp_path: Path, row: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(tmp_path, [{"prompt": "Tea?", **row}])


def test_answers_of_one_prompt_in_two_splits_are_refused(tmp_path: Path) -> None:
    rows = [
        {"prompt": "Tea?", "response": str(i), "help": i, "split": split} for i, split in enumerate(["sft", "test"])
    ]
    with pytest.raises(DataError, match="line 2: this prompt stands in the split 'test' here and in 'sft' at .*line 1"):
        read(tmp_path, rows)


def test_attribute_and_format_belong_together() -> None:
    with pytest.raises(ValidationError, match="format rated needs `attribute`"):
        PairSource(path="a.jsonl", format="rated")
    with pytest.raises(ValidationError, match="`attribute` is read with `format: rated` only"):
        PairSource(path="a.jsonl", attribute="help")
