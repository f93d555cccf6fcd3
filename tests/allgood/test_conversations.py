import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allgood.conversations import (
    Turn,
    as_content,
    as_prompt,
    first_human_turn,
    join,
    normalise,
    parse,
    prompt_id,
    render,
)

TWO_ROUNDS = (
    "\n\nHuman: What is tea?\n\nAssistant: A drink.\n\nIt is hot.\n\nHuman: And mate?\n\nAssistant: Also a drink."
)

texts = st.lists(st.sampled_from(["a", " ", ":", "\n", "\r\n", "Human:", "Assistant:"]), max_size=12).map("".join)
contents = texts.map(as_content)
conversations = st.lists(st.builds(Turn, st.sampled_from(["system", "human", "assistant"]), contents), min_size=1)


def test_a_conversation_parses_into_its_turns() -> None:
    assert parse(TWO_ROUNDS) == (
        Turn("human", "What is tea?"),
        Turn("assistant", "A drink.\n\nIt is hot."),
        Turn("human", "And mate?"),
        Turn("assistant", "Also a drink."),
    )


def test_canonical_text_survives_the_round_trip() -> None:
    for text in (
        TWO_ROUNDS,
        "\n\nSystem: Be brief.\n\nHuman: Hi\n\nAssistant:",
        "\n\nHuman: \N{SNOWMAN}\n\nAssistant: é",
    ):
        assert render(parse(text)) == text


@given(conversations)
def test_turns_with_safe_contents_survive_the_round_trip(turns: list[Turn]) -> None:
    assert list(parse(render(turns))) == turns


@given(texts)
def test_as_content_never_leaves_a_turn_label_after_an_empty_line(text: str) -> None:
    assert "\n\nHuman:" not in as_content(text)
    assert "\n\nAssistant:" not in as_content(text)


def test_spacing_around_turns_is_made_canonical() -> None:
    assert render(parse("Human:  Hi \r\n\r\nAssistant:  Hello \n\n\nHuman: Bye\n")) == (
        "\n\nHuman: Hi\n\nAssistant: Hello\n\nHuman: Bye"
    )


def test_a_label_inside_a_line_is_text() -> None:
    assert parse("\n\nHuman: say Human: now\nAssistant: no\n\nAssistant:")[0].content == "say Human: now\nAssistant: no"


def test_text_without_a_label_is_no_conversation() -> None:
    for text in ("", "hello", "hello\n\nHuman: hi"):
        with pytest.raises(ValueError, match="must begin with"):
            parse(text)


def test_a_prompt_and_its_response_join_to_the_conversation() -> None:
    *asked, answer = parse(TWO_ROUNDS)
    prompt = as_prompt(asked)
    assert prompt.endswith("\n\nHuman: And mate?\n\nAssistant:")
    assert answer.content == "Also a drink."
    assert join(prompt, answer.content) == TWO_ROUNDS
    assert parse(prompt)[-1] == Turn("assistant", "")
    assert join(prompt, "") == prompt


def test_a_prompt_ends_exactly_in_the_assistant_label() -> None:
    assert as_prompt([Turn("human", "Hi")]) == "\n\nHuman: Hi\n\nAssistant:"


def test_the_first_human_turn_is_found_behind_a_system_turn() -> None:
    assert first_human_turn("\n\nSystem: Be brief.\n\nHuman: Hi\n\nAssistant:") == "Hi"
    assert first_human_turn("\n\nSystem: Be brief.\n\nAssistant:") == ""


def test_a_prompt_is_named_by_its_hash() -> None:
    prompt = "\n\nHuman: ü\n\nAssistant:"
    assert prompt_id(prompt) == hashlib.sha256(prompt.encode()).hexdigest()[:16]


def test_normalised_text_ignores_case_punctuation_and_unicode_forms() -> None:
    assert normalise("  What's  UP, Döc?") == normalise("what s up do\N{COMBINING DIAERESIS}c")
    assert normalise("?!") == "?!"
    assert normalise("") == ""
