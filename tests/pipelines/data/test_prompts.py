from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from allgood.errors import DataError
from pipelines.config.data import PromptSource
from pipelines.data.prompts import read_prompts
from tests.pipelines.data.files import write_jsonl


def test_a_prompt_is_text_or_messages_or_a_labelled_conversation(tmp_path: Path) -> None:
    turns = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Hi, "}, {"type": "text", "text": "you"}]},
        {"role": "assistant", "content": "Hello", "id": 3},
        {"role": "user", "content": "Tea?"},
    ]
    rows = [{"prompt": "Tea?", "id": 7}, {"prompt": turns}, {"prompt": "Human: Tea?\n\nAssistant:", "split": "test"}]
    prompts, report = read_prompts(PromptSource(path=str(write_jsonl(tmp_path / "prompts.jsonl", rows))))
    assert [prompt.text for prompt in prompts] == [
        "\n\nHuman: Tea?\n\nAssistant:",
        "\n\nSystem: Be brief.\n\nHuman: Hi, you\n\nAssistant: Hello\n\nHuman: Tea?\n\nAssistant:",
        "\n\nHuman: Tea?\n\nAssistant:",
    ]
    assert [prompt.split for prompt in prompts] == [None, None, "test"]
    assert report == {
        "rows": 3,
        "prompts": 2,
        "dropped_empty": 0,
        "repeated": 1,
        "stripped": 0,
        "with_system_turn": 1,
        "unread_columns": "id",
    }


def test_columns_have_the_names_of_the_dataset(tmp_path: Path) -> None:
    rows = [{"instruction": "Tea?", "context": "Be brief.", "prompt": "something else"}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "prompts.parquet")
    columns = {"prompt": "instruction", "system": "context"}
    for path in (tmp_path / "prompts.parquet", write_jsonl(tmp_path / "prompts.jsonl", rows)):
        prompts, _ = read_prompts(PromptSource(path=str(path), columns=columns))
        assert [prompt.text for prompt in prompts] == ["\n\nSystem: Be brief.\n\nHuman: Tea?\n\nAssistant:"]
        with pytest.raises(DataError, match="has no column 'text', which `columns` names for `prompt`; it has context"):
            read_prompts(PromptSource(path=str(path), columns={"prompt": "text"}))


def test_a_column_of_another_meaning_is_left_unread(tmp_path: Path) -> None:
    source = PromptSource(path=str(write_jsonl(tmp_path / "prompts.jsonl", [{"prompt": "Tea?", "split": "train"}])))
    with pytest.raises(DataError, match=r"`split` is 'train'; allowed: sft, .* with `columns: \{split: null\}`"):
        read_prompts(source)
    assert read_prompts(source.model_copy(update={"columns": {"split": None}}))[0][0].split is None


def test_with_a_format_a_text_is_read_as_that_alone(tmp_path: Path) -> None:
    source = PromptSource(path=str(write_jsonl(tmp_path / "prompts.jsonl", [{"prompt": "Human: Tea?"}])))
    said = source.model_copy(update={"format": "strings"})
    assert read_prompts(source)[0][0].text == "\n\nHuman: Tea?\n\nAssistant:"
    assert read_prompts(said)[0][0].text == "\n\nHuman: Human: Tea?\n\nAssistant:"
    with pytest.raises(DataError, match="line 1: `prompt` must be a list of messages, not str"):
        read_prompts(source.model_copy(update={"format": "messages"}))


def test_a_few_empty_prompts_are_dropped_and_counted_and_many_are_refused(tmp_path: Path) -> None:
    filled = [{"prompt": f"question {i}"} for i in range(199)]
    path = write_jsonl(tmp_path / "few.jsonl", [*filled, {"prompt": " "}])
    assert read_prompts(PromptSource(path=str(path)))[1]["dropped_empty"] == 1
    path = write_jsonl(tmp_path / "many.jsonl", [*filled, {"prompt": None}, {"prompt": []}, {"prompt": ""}])
    with pytest.raises(DataError, match=r"many\.jsonl: `prompt` is empty in 3 of 202 rows, first at .*line 200"):
        read_prompts(PromptSource(path=str(path)))


def test_a_prompt_without_a_user_or_with_a_picture_is_refused(tmp_path: Path) -> None:
    for turns, message in (
        ([{"role": "system", "content": "Be brief."}], "`prompt` is empty: no user says anything in it"),
        ([{"role": "user", "content": [{"type": "image", "url": "x"}]}], "has a part of type 'image' in its content"),
    ):
        path = write_jsonl(tmp_path / "prompts.jsonl", [{"prompt": turns}])
        with pytest.raises(DataError, match=message):
            read_prompts(PromptSource(path=str(path)))
