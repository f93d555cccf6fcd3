from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from pipelines.data.prepared import Demonstration, Pair, PreparedData
from pipelines.data.tokenizer import tokenizer_texts, train_tokenizer

TEXTS = ["\n\nHuman: What is bread?\n\nAssistant: Flour, water and yeast.", " the the the river rivers"] * 4
TOKENIZER = train_tokenizer(TEXTS, 320, model_max_length=128)


@given(st.text())
def test_every_text_survives_the_round_trip(text: str) -> None:
    assert TOKENIZER.decode(TOKENIZER(text, split_special_tokens=True)["input_ids"]) == text


def test_special_tokens_and_sizes_are_set(tmp_path: Path) -> None:
    assert (TOKENIZER.eos_token, TOKENIZER.eos_token_id) == ("<eos>", 0)
    assert (TOKENIZER.pad_token, TOKENIZER.pad_token_id) == ("<pad>", 1)
    assert TOKENIZER.model_max_length == 128
    assert 258 < len(TOKENIZER) <= 320
    assert len(TOKENIZER(" the river")["input_ids"]) == 2  # merges were learned
    assert TOKENIZER("a")["input_ids"] == TOKENIZER("a", add_special_tokens=False)["input_ids"]


def test_the_same_texts_give_the_same_tokenizer(tmp_path: Path) -> None:
    TOKENIZER.save_pretrained(tmp_path / "first")
    train_tokenizer(TEXTS, 320, model_max_length=128).save_pretrained(tmp_path / "second")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


def test_a_saved_tokenizer_loads_through_auto_tokenizer(tmp_path: Path) -> None:
    TOKENIZER.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert isinstance(loaded, PreTrainedTokenizerFast)
    assert loaded(TEXTS[0])["input_ids"] == TOKENIZER(TEXTS[0])["input_ids"]
    assert (loaded.eos_token_id, loaded.pad_token_id, loaded.model_max_length) == (0, 1, 128)
    text = " What , is  bread ? don 't"
    assert loaded.decode(loaded(text)["input_ids"]) == text


@pytest.mark.parametrize("split", ["validation", "test", "alignment"])
def test_only_training_text_is_learned_from(split: str) -> None:
    rows = [
        Demonstration("a", "p", "r", "sft"),
        Demonstration("b", "hidden", "hidden", split),  # type: ignore[arg-type]
    ]
    pairs = [Pair("a", "q", "c", "d", None, "reward"), Pair("b", "hidden", "hidden", "hidden", None, split)]  # type: ignore[arg-type]
    data = PreparedData([], {"helpful": pairs}, rows, {})
    assert tokenizer_texts(data) == ["p", " r", "q", " c", " d"]
