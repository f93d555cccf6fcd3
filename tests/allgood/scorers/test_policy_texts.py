"""What other trainers send becomes what a run scores, to the character, or is refused."""

from __future__ import annotations

from typing import Any

import pytest

from allgood.conversations import Turn, Turns, as_prompt
from allgood.scorers.chat import ChatTemplate
from allgood.scorers.policy_texts import PolicyTexts
from tests.templates import template_tokenizer

QUESTION: Turns = (Turn("human", "What is tea?"),)
LONGER: Turns = (*QUESTION, Turn("assistant", "A drink,\n\nand warm."), Turn("human", "And mate?"))
RULED: Turns = (Turn("system", "Be brief."), *QUESTION)
CANONICAL = "\n\nHuman: What is tea?\n\nAssistant:"


def rendered(kind: str, turns: Turns) -> str:
    return ChatTemplate(template_tokenizer(kind)).render(turns, generate=True).text


@pytest.mark.parametrize("kind", ["chatml", "headers", "alternating", "reasoning", "parts", "no_system"])
@pytest.mark.parametrize("turns", [QUESTION, LONGER])
def test_a_rendering_is_read_back_to_the_prompt_of_the_run(kind: str, turns: Turns) -> None:
    texts = PolicyTexts(template_tokenizer(kind))
    text = rendered(kind, turns)
    assert texts.prompt(text) == as_prompt(turns)
    assert texts.prompt(text.rstrip()) == as_prompt(turns)
    assert texts.prompt(text.removeprefix("<bos>")) == as_prompt(turns)  # some trainers leave BOS to the tokenizer


@pytest.mark.parametrize("kind", ["chatml", "headers", "reasoning", "parts"])
def test_a_system_turn_is_read_back_where_the_template_keeps_it(kind: str) -> None:
    assert PolicyTexts(template_tokenizer(kind)).prompt(rendered(kind, RULED)) == as_prompt(RULED)


@pytest.mark.parametrize("kind", ["chatml", "none"])
@pytest.mark.parametrize(
    "prompt",
    [
        CANONICAL,
        CANONICAL.strip(),
        "What is tea?",
        " What is tea?\n",
        [{"role": "user", "content": "What is tea?"}],
        [{"role": "user", "content": [{"type": "text", "text": "What is tea?"}]}],
    ],
)
def test_every_plain_form_is_the_same_prompt(kind: str, prompt: Any) -> None:
    assert PolicyTexts(template_tokenizer(kind)).prompt(prompt) == PolicyTexts(None).prompt(prompt) == CANONICAL


@pytest.mark.parametrize(
    "text",
    [
        "<|im_start|>user\nWhat is tea?<|im_end|>\n<|im_start|>assistant\n",
        "<s>[INST] What is tea? [/INST]",
        "<start_of_turn>user\nWhat is tea?<end_of_turn>\n<start_of_turn>model\n",
        "A chat.\n\nHuman: What is tea?\n\nAssistant:",
        "USER: What is tea? ASSISTANT:",
        "### Instruction:\nWhat is tea?",
    ],
)
def test_text_of_an_undeclared_template_is_never_a_human_turn(text: str) -> None:
    with pytest.raises(ValueError, match="neither a conversation with labels nor what a user says"):
        PolicyTexts(None).prompt(text)


@pytest.mark.parametrize(
    "text",
    [
        rendered("headers", QUESTION),  # of another template
        rendered("chatml", QUESTION).removesuffix("<|im_start|>assistant\n"),  # asks for no reply
        rendered("chatml", QUESTION).replace("tea", "<|im_end|> tea"),  # markup inside what somebody says
        rendered("chatml", QUESTION).replace("user", "user "),
    ],
)
def test_what_the_declared_template_would_not_write_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="`prompt`"):
        PolicyTexts(template_tokenizer("chatml")).prompt(text)


def test_a_prompt_must_leave_something_to_answer() -> None:
    texts = PolicyTexts(None)
    with pytest.raises(ValueError, match="ends in an assistant turn"):
        texts.prompt("\n\nHuman: Hello\n\nAssistant: Hi")
    with pytest.raises(ValueError, match="no user says anything"):
        texts.prompt("  ")
    with pytest.raises(ValueError, match="empty list of messages"):
        texts.prompt([])


@pytest.mark.parametrize(
    ("kind", "sent", "scored"),
    [
        ("chatml", "A drink.<|im_end|>\n", "A drink."),
        ("chatml", "A drink.<|im_end|>\n<eos><pad><pad>", "A drink."),
        ("chatml", " A drink. <|im_end|>", " A drink. "),  # as it was generated
        ("headers", "A drink.<|eot_id|>", "A drink."),
        ("none", " A drink.<eos>", "A drink."),  # plain text is stripped
        ("none", "It is <eos> in the middle", "It is <eos> in the middle"),
    ],
)
def test_trailing_end_tokens_are_stripped(kind: str, sent: str, scored: str) -> None:
    texts = PolicyTexts(template_tokenizer(kind))
    assert texts.response(sent) == texts.response([{"role": "assistant", "content": sent}]) == scored


def test_without_a_declared_template_what_may_be_an_end_token_is_refused() -> None:
    with pytest.raises(ValueError, match="may be an end token or text; declare policy_template"):
        PolicyTexts(None).response("A drink.<|im_end|>")
    assert PolicyTexts(None).response(" A drink.\n") == "A drink."


def test_a_response_is_one_message_of_the_assistant() -> None:
    texts = PolicyTexts(None)
    with pytest.raises(ValueError, match="must be one message of the assistant, not 2"):
        texts.response([{"role": "assistant", "content": "a"}, {"role": "assistant", "content": "b"}])
    with pytest.raises(ValueError, match="is a message of the human"):
        texts.response([{"role": "user", "content": "a"}])


@pytest.mark.parametrize("kind", ["chatml", "headers", "alternating", "reasoning", "parts", "no_system"])
@pytest.mark.parametrize("turns", [QUESTION, LONGER])
@pytest.mark.parametrize("reply", ["A drink.", "Two lines,\n\nand a last one."])
def test_a_whole_conversation_is_parted_where_its_last_reply_begins(kind: str, turns: Turns, reply: str) -> None:
    texts = PolicyTexts(template_tokenizer(kind))
    prompt, response = texts.parted(rendered(kind, turns) + reply)
    assert (texts.prompt(prompt), texts.response(response).strip()) == (as_prompt(turns), reply)
    prompt, response = texts.parted(f"{as_prompt(turns)} {reply}")
    assert (texts.prompt(prompt), texts.response(response).strip()) == (as_prompt(turns), reply)


@pytest.mark.parametrize(
    "text",
    [
        "What is tea? A drink.",  # no labels
        "\n\nHuman: What is tea?",  # no reply
        CANONICAL + " A drink.\n\nHuman: And mate?",  # turns behind the reply
        CANONICAL + " A drink.<|im_end|>\n<|im_start|>user\nAnd mate?",
    ],
)
def test_what_does_not_end_in_a_reply_is_not_parted(text: str) -> None:
    with pytest.raises(ValueError):
        PolicyTexts(None).parted(text)


def test_another_templates_conversation_is_not_parted() -> None:
    with pytest.raises(ValueError, match="declared policy_template"):
        PolicyTexts(template_tokenizer("headers")).parted(rendered("chatml", QUESTION) + "A drink.")
