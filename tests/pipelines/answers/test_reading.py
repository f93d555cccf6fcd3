"""Files of prompts and responses: both shapes, what is kept alongside a response, what is refused and where."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from allgood.errors import DataError
from pipelines.answers.reading import flat, read_answers


def write(path: Path, *rows: Any) -> Path:
    data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def test_rows_of_one_prompt_belong_together_wherever_they_stand(tmp_path: Path) -> None:
    path = write(
        tmp_path / "rows.jsonl",
        {"prompt": "Why?", "response": " Because. ", "stars": 4},
        {"prompt": "Who?", "response": "Me."},
        {"prompt": "\n\nHuman: Why?\n\nAssistant:", "response": "So.", "stars": 2},
    )
    why, who = read_answers(path)
    assert why.prompt == "\n\nHuman: Why?\n\nAssistant:"
    assert why.responses == ("Because.", "So.")
    assert [fields["stars"] for fields in why.fields] == [4, 2]
    assert flat([why, who])[1] == ["Because.", "So.", "Me."]


def test_a_list_of_candidates_may_hold_texts_or_texts_with_numbers(tmp_path: Path) -> None:
    path = write(
        tmp_path / "candidates.jsonl.gz",
        {"prompt": "Why?", "source": "quiz", "responses": [{"text": "A", "judge_logit": 1.5}, {"response": "B"}]},
        {"prompt": "Who?", "candidates": ["C", "D"]},
    )
    why, who = read_answers(path)
    assert why.responses == ("A", "B")
    assert why.fields[0] == {"source": "quiz", "judge_logit": 1.5}
    assert who.responses == ("C", "D")


def test_parquet_is_read_alike(tmp_path: Path) -> None:
    pq.write_table(
        pa.table({"prompt": ["Why?", "Why?"], "response": ["A", "B"], "split": ["test", "test"]}),
        tmp_path / "rows.parquet",
    )
    (why,) = read_answers(tmp_path / "rows.parquet")
    assert why.responses == ("A", "B")
    assert why.split == "test"


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ({"prompt": "Q", "answer": "A"}, "line 2: the row has no text under `response` (or a list under `responses`"),
        ({"response": "A"}, "line 2: `prompt` is missing; the row has `response`"),
        ({"prompt": "Q", "responses": []}, "line 2: `responses` must be a list of responses that is not empty"),
        (
            {"prompt": "Q", "responses": ["A", {"txt": "B"}]},
            "line 2: candidate 2 of `responses` has no text under `text` or `response`; it has `txt`",
        ),
        ({"prompt": "Q", "responses": ["A", 3]}, "line 2: candidate 2 of `responses` must be text or {text, ...}"),
        ({"prompt": "Q", "responses": ["A"], "candidates": ["B"]}, "line 2: the row has `responses` and `candidates`;"),
    ],
)
def test_a_missing_field_is_named_with_its_line(tmp_path: Path, row: dict[str, Any], sentence: str) -> None:
    path = write(tmp_path / "rows.jsonl", {"prompt": "P", "response": "R"}, row)
    with pytest.raises(DataError) as caught:
        read_answers(path)
    assert sentence in str(caught.value)


def test_one_prompt_in_two_splits_is_refused(tmp_path: Path) -> None:
    rows = [{"prompt": "Q", "response": "A", "split": "test"}, {"prompt": "Q", "response": "B", "split": "sft"}]
    with pytest.raises(DataError, match="line 2: this prompt stands in the splits 'test' and 'sft'"):
        read_answers(write(tmp_path / "rows.jsonl", *rows))


@pytest.mark.parametrize(
    ("splits", "sentence"),
    [
        (("test", None), "line 2: this prompt has no split here and the split 'test' in a row before"),
        ((None, "sft"), "line 2: this prompt has the split 'sft' here and no split in a row before"),
    ],
)
def test_one_prompt_with_a_split_and_without_is_refused(
    tmp_path: Path, splits: tuple[str | None, str | None], sentence: str
) -> None:
    rows = [{"prompt": "Q", "response": "A"} | ({"split": split} if split else {}) for split in splits]
    with pytest.raises(DataError, match=sentence):
        read_answers(write(tmp_path / "rows.jsonl", *rows))


def test_a_candidate_has_no_split_of_its_own(tmp_path: Path) -> None:
    (why,) = read_answers(write(tmp_path / "rows.jsonl", {"prompt": "Q", "responses": [{"text": "A", "split": "dev"}]}))
    assert why.fields == ({},)
    assert why.places == (f"{tmp_path / 'rows.jsonl'}, line 1",)


def test_a_missing_file_is_named_without_a_word_on_the_hub(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^there is no file .*nope\.jsonl$"):
        read_answers(tmp_path / "nope.jsonl")


def test_another_ending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="give a .jsonl, .jsonl.gz or .parquet file"):
        read_answers(tmp_path / "rows.csv")
