"""Where a response starts and ends, by template."""

import pytest

from allgood.errors import ModelError
from allgood.scorers.policy_format import response_form
from allgood.scorers.response_form import ResponseForm
from tests.templates import KINDS, byte_level, template_tokenizer


@pytest.mark.parametrize("kind", KINDS)
def test_the_token_that_ends_a_turn_ends_a_response(kind: str) -> None:
    tokenizer = template_tokenizer(kind)
    form = response_form(tokenizer)
    assert form.end_token == tokenizer.convert_tokens_to_ids(KINDS[kind].end)
    assert form.end == (form.end_token,)
    assert form.lead == (" " if kind in ("alternating", "none") else "")


def test_a_chat_template_needs_no_stop_text_and_plain_text_does() -> None:
    assert response_form(template_tokenizer("chatml")).stop == ()
    assert response_form(template_tokenizer("none")).stop == ("\n\nHuman:",)


def of_loop(body: str, **tokens: list[str]) -> tuple[ResponseForm, list[str]]:
    """The form of a template that writes `body` per message, and its end in words."""
    tokenizer = byte_level(**tokens, template="{% for m in messages %}" + body + "{% endfor %}")
    form = response_form(tokenizer)
    return form, tokenizer.decode(form.end)


def test_a_token_that_is_not_special_ends_a_turn_too() -> None:
    form, end = of_loop("{{ m.role }}: {{ m.content }}<|end|>\n", added=["<|end|>"])
    assert (end, form.stop) == ("<|end|>", ())
    assert form.end_token == form.end[0]


def test_words_before_the_end_token_belong_to_the_end() -> None:
    form, end = of_loop("{{ m.role }}: {{ m.content }}\n<eos>\n")
    assert (end, form.end_token) == ("\n<eos>", 2)
    assert (form.text("Paris.\n"), form.text("Paris.")) == ("Paris.", "Paris.")


def test_the_first_token_behind_a_reply_ends_it_not_what_ends_the_conversation() -> None:
    _, end = of_loop("{{ m.content }}<|end|>\n{% if loop.last %}{{ eos_token }}{% endif %}", special=["<|end|>"])
    assert end == "<|end|>"


def test_the_token_that_begins_the_next_turn_ends_one_that_has_no_end_of_its_own() -> None:
    form, end = of_loop("<|{{ m.role }}|>{{ m.content }}", special=["<|user|>", "<|assistant|>"])
    assert (end, form.stop) == ("<|user|>", ())


def test_a_template_without_tokens_ends_a_turn_in_its_own_words() -> None:
    form, end = of_loop("### {{ m.role }}\n{{ m.content }}\n### end\n")
    assert (end, form.end_token, form.stop) == ("\n### end", None, ("### end",))


def test_without_any_end_the_header_of_the_next_turn_stops_generation_and_eos_is_taught() -> None:
    form, end = of_loop("### {{ m.role }}: {{ m.content }}\n\n")
    assert (end, form.end_token, form.stop) == ("<eos>", 2, ("\n\n### user:",))


def test_a_template_with_nothing_between_turns_is_refused_with_both_ends() -> None:
    with pytest.raises(ModelError, match=r"ends an assistant's turn with '\\n', neither .* the EOS token '<eos>'"):
        of_loop("{{ m.content }}\n")


def test_plain_text_is_stripped_and_a_chat_response_is_kept_as_it_is_but_for_what_leads_it() -> None:
    assert response_form(template_tokenizer("none")).text("  Paris.\n") == "Paris."
    assert response_form(template_tokenizer("chatml")).text("\n Paris.\n") == "\n Paris.\n"
    assert response_form(template_tokenizer("alternating")).text("  Paris.\n") == " Paris.\n"
