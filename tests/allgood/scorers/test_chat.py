"""What templates make of conversations: what they keep, what they drop, and where replies stand."""

import logging

import pytest

from allgood.conversations import Turn
from allgood.errors import ModelError
from allgood.scorers.chat import ChatTemplate
from tests.templates import KINDS, byte_level, template_tokenizer

CHAT_KINDS = [kind for kind in KINDS if kind != "none"]
QUESTION = Turn("human", "What is tea?")
TALK = (QUESTION, Turn("assistant", "A drink."), Turn("human", "And mate?"))
RULE = Turn("system", "Be brief.")


def of_template(template: str) -> ChatTemplate:
    return ChatTemplate(byte_level(template=template))


@pytest.mark.parametrize("kind", CHAT_KINDS)
def test_every_kind_of_template_shows_every_turn(kind: str) -> None:
    rendering = ChatTemplate(template_tokenizer(kind)).render((RULE, *TALK), generate=True)
    assert rendering.num_changed == 0
    assert all(turn.content in rendering.text for turn in (RULE, *TALK))


def test_a_system_turn_that_is_refused_or_dropped_is_put_before_the_first_human_turn_and_the_log_says_so_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    for kind, begin in (("alternating", "<bos>[INST] "), ("no_system", "<|im_start|>user\n")):
        tokenizer = template_tokenizer(kind)
        tokenizer.name_or_path = f"a template without system turns: {kind}"
        with caplog.at_level(logging.WARNING):
            texts = [ChatTemplate(tokenizer).render((RULE, *TALK), generate=True).text for _ in range(2)]
        assert texts[0].startswith(f"{begin}Be brief.\n\nWhat is tea?")
        assert [tokenizer.name_or_path in record.message for record in caplog.records].count(True) == 1


def test_a_system_turn_without_a_human_one_becomes_the_human_turn() -> None:
    text = ChatTemplate(template_tokenizer("alternating")).render((RULE,), generate=True).text
    assert text == "<bos>[INST] Be brief. [/INST]"
    empty = ChatTemplate(template_tokenizer("alternating")).render((Turn("system", ""), QUESTION), generate=True)
    assert empty.text == "<bos>[INST] What is tea? [/INST]"


def test_a_default_system_text_gives_way_to_the_conversation_s_own() -> None:
    template = ChatTemplate(template_tokenizer("chatml"))
    assert "helpful assistant" in template.render((QUESTION,), generate=True).text
    assert "helpful assistant" not in template.render((RULE, QUESTION), generate=True).text


def test_a_template_that_leaves_out_what_is_said_is_refused() -> None:
    with pytest.raises(ModelError, match="leaves out what the human or the assistant says"):
        of_template("{% for m in messages %}{{ m.role }}{% endfor %}")


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("{{ raise_exception('not today') }}", "not today"),
        ("{{ 1 + 'a' }}", "unsupported operand"),
        ("{{ messages[0].content | int + nothing.at_all }}", "'nothing' is undefined"),
        ("{{ 'a'.index('b') }}", "substring not found"),
        ("{% for %}", "Expected an expression"),
    ],
)
def test_whatever_goes_wrong_in_a_template_names_its_model(statement: str, reason: str) -> None:
    tokenizer = byte_level(template=statement)
    tokenizer.name_or_path = "odd-model"
    with pytest.raises(ModelError, match=f"the chat template of 'odd-model' refuses .* user, assistant: .*{reason}"):
        ChatTemplate(tokenizer)


def test_a_template_that_writes_the_date_is_said_to(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        of_template("{{ strftime_now('%d %b %Y') }}{% for m in messages %}{{ m.content }}{% endfor %}")
    assert "writes the day's date" in caplog.text


def test_turns_that_a_template_changes_are_counted() -> None:
    template = of_template(
        "{% for m in messages %}{{ m.role }}: {{ m.content | replace('tea', 'coffee') }}\n{% endfor %}"
    )
    assert template.render(TALK, generate=False).num_changed == 1
    assert template.render(TALK[1:], generate=False).num_changed == 0


def test_white_space_is_no_change() -> None:
    template = of_template(
        "{% for m in messages %}{{ m.role }}: {{ m.content | trim | replace('\\n\\n', '\\n') }}\n{% endfor %}"
    )
    assert template.render((Turn("human", " a\n\nb "),), generate=False).num_changed == 0


def test_replies_are_found_where_they_stand() -> None:
    template = of_template("{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}a")
    turns = (Turn("human", "a"), Turn("assistant", "a"), Turn("human", "b"), Turn("assistant", "user: a"))
    text = template.render(turns, generate=True).text
    assert text == "user: a\nassistant: a\nuser: b\nassistant: user: a\na"
    assert template.replies(turns, text) == [(19, 20), (40, 47)]
    assert [text[start:end] for start, end in filter(None, template.replies(turns, text))] == ["a", "user: a"]


def test_only_a_reply_that_loses_its_reasoning_has_no_place() -> None:
    template = ChatTemplate(template_tokenizer("reasoning"))
    turns = (QUESTION, Turn("assistant", "<think>x</think>yes"), QUESTION, Turn("assistant", "no"), QUESTION)
    text = template.render(turns, generate=True).text
    lost, found = template.replies(turns, text)
    assert lost is None
    assert found is not None
    assert text[slice(*found)] == "no"


def test_what_stands_around_a_reply() -> None:
    template = ChatTemplate(template_tokenizer("chatml"))
    assert template.before_reply == "<|im_end|>\n<|im_start|>assistant\n"
    assert template.after_reply == "<|im_end|>\n"
    assert template.between_turns == "<|im_end|>\n<|im_start|>user\n"
    assert ChatTemplate(template_tokenizer("alternating")).lead == " "
