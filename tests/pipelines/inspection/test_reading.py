"""What a model reads, token by token, with templates of the kinds used in the field."""

from __future__ import annotations

import pytest
from transformers import PreTrainedTokenizerBase

from allgood.scorers.encoding import encode_all_for_scoring
from pipelines.inspection.reading import (
    Cuts,
    Reading,
    count_cuts,
    generating_reader,
    learning_reader,
    scoring_reader,
    spelled,
)
from tests.templates import KINDS, sentencepiece_like, template_tokenizer

PROMPT = "\n\nSystem: Be brief.\n\nHuman: Name a river.\n\nAssistant: The Danube.\n\nHuman: One more?\n\nAssistant:"
ANSWER = "Another long river in Europe."


def text_of(reading: Reading) -> str:
    return "".join(token.text for token in reading.tokens)


def response_of(reading: Reading) -> str:
    assert reading.response_start is not None
    return "".join(token.text for token in reading.tokens[reading.response_start :] if not token.is_markup)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_the_response_starts_where_it_starts_for_policy_and_scorer(kind: str) -> None:
    tokenizer = template_tokenizer(kind)
    for make in (learning_reader, scoring_reader):
        reading = make("reader", tokenizer, max_tokens=500).read(PROMPT, ANSWER)
        assert reading.num_cut == 0
        assert response_of(reading).strip() == ANSWER
        assert "One more?" in text_of(reading)


@pytest.mark.parametrize("kind", ["chatml", "headers", "none"])
def test_a_policy_that_is_to_answer_goes_on_behind_the_last_token(kind: str) -> None:
    reading = generating_reader("policy", template_tokenizer(kind), max_tokens=500).read(PROMPT, ANSWER)
    assert reading.response_start == len(reading.tokens)
    assert ANSWER not in text_of(reading)


def test_tokens_spell_the_text_and_markup_is_told_from_text() -> None:
    tokenizer = template_tokenizer("chatml")
    reading = scoring_reader("helpful", tokenizer, max_tokens=500).read(PROMPT, "It ends <|im_end|> here.")
    (scored,) = encode_all_for_scoring(tokenizer, [(PROMPT, "It ends <|im_end|> here.")], max_tokens=500)
    assert scored is not None
    assert [token.id for token in reading.tokens] == list(scored.tokens)
    assert text_of(reading) == tokenizer.decode(scored.tokens)
    ends = [token for token in reading.tokens if token.is_markup and token.text == "<|im_end|>"]
    assert len(ends) == 5  # one per turn; the one that the answer spells is text


def test_a_tokenizer_that_hides_a_space_at_the_beginning_shows_it() -> None:
    tokenizer: PreTrainedTokenizerBase = sentencepiece_like("always")
    ids = tokenizer("Name a river", add_special_tokens=False)["input_ids"]
    assert "".join(token.text for token in spelled(tokenizer, ids)).strip() == "Name a river"


def test_parts_of_a_character_are_spelled_as_in_the_vocabulary() -> None:
    tokenizer = template_tokenizer("none")
    ids = tokenizer("é", add_special_tokens=False)["input_ids"]
    assert [token.text for token in spelled(tokenizer, ids)] == ["Ã", "©"]


@pytest.mark.parametrize("kind", ["chatml", "none"])
def test_what_is_cut_is_shown_and_the_system_turn_stays(kind: str) -> None:
    tokenizer = template_tokenizer(kind)
    whole = generating_reader("policy", tokenizer, max_tokens=500).read(PROMPT, ANSWER)
    short = generating_reader("policy", tokenizer, max_tokens=len(whole.tokens) - 1).read(PROMPT, ANSWER)
    assert short.num_cut == len(whole.tokens) - len(short.tokens) > 1
    assert "The Danube." in short.cut_text
    assert "Be brief." in text_of(short)
    assert "Danube" not in text_of(short)


def test_a_response_that_does_not_fit_leaves_nothing() -> None:
    reader = scoring_reader("helpful", template_tokenizer("none"), max_tokens=12)
    rows = [(PROMPT, "Yes."), (PROMPT, ANSWER * 3)]
    assert reader.read(*rows[1]) == Reading((), None)
    assert count_cuts(scoring_reader("helpful", template_tokenizer("none"), max_tokens=30), rows) == Cuts(2, 1, 1)
