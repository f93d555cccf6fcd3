from typing import Any

import pytest

from allgood.errors import DataError
from pipelines.data.formats import Format, detect_format, read_demonstration, read_pair, read_prompt
from pipelines.data.sources import Row

PROMPT = "\n\nHuman: What is tea?\n\nAssistant:"
LONG_PROMPT = "\n\nHuman: Hi\n\nAssistant: Hello\n\nHuman: What is tea?\n\nAssistant:"


def row(**values: Any) -> Row:
    return Row("pairs.jsonl, line 7", values)


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


GOOD_ROWS: list[tuple[Format, str, dict[str, Any]]] = [
    ("hh", PROMPT, {"chosen": PROMPT + " Good", "rejected": PROMPT + " Bad"}),
    ("hh", LONG_PROMPT, {"chosen": LONG_PROMPT + "  Good\n", "rejected": LONG_PROMPT + " Bad", "prompt": "ignored"}),
    ("strings", PROMPT, {"prompt": " What is tea? ", "chosen": "Good", "rejected": "Bad "}),
    ("strings", LONG_PROMPT, {"prompt": LONG_PROMPT, "chosen": "Good", "rejected": "Bad"}),
    (
        "strings",
        LONG_PROMPT,
        {"prompt": LONG_PROMPT.removesuffix("\n\nAssistant:"), "chosen": "Good", "rejected": "Bad"},
    ),
    (
        "messages",
        PROMPT,
        {"prompt": [user("What is tea?")], "chosen": [assistant("Good")], "rejected": [assistant("Bad")]},
    ),
    ("messages", PROMPT, {"prompt": "What is tea?", "chosen": [assistant("Good")], "rejected": [assistant("Bad")]}),
    (
        "messages",
        LONG_PROMPT,
        {
            "chosen": [user("Hi"), assistant("Hello"), user("What is tea?"), assistant("Good")],
            "rejected": [user("Hi"), assistant("Hello"), user("What is tea?"), assistant("Bad")],
            "prompt": "What is tea?",
        },
    ),
]


SYSTEM = {"role": "system", "content": "Be brief."}
SYSTEM_PROMPT = f"\n\nSystem: Be brief.{PROMPT}"
PARTS = [{"type": "text", "text": "What is "}, {"type": "text", "text": "tea?"}]
GOOD_ROWS += [
    # one message as the answer; content in parts; other names of roles; ids and nulls
    ("messages", PROMPT, {"prompt": "What is tea?", "chosen": assistant("Good"), "rejected": assistant("Bad")}),
    (
        "messages",
        PROMPT,
        {
            "chosen": [{"role": "user", "content": PARTS, "name": None}, assistant("Good") | {"id": 3}],
            "rejected": [{"from": "human", "value": "What is tea?"}, {"from": "gpt", "value": "Bad"}],
        },
    ),
    # what only `prompt` says stands before a whole conversation
    (
        "messages",
        SYSTEM_PROMPT,
        {
            "prompt": [SYSTEM, user("What is tea?")],
            "chosen": [user("What is tea?"), assistant("Good")],
            "rejected": [user("What is tea?"), assistant("Bad")],
        },
    ),
    (
        "messages",
        SYSTEM_PROMPT,
        {
            "prompt": [user("What is tea?")],
            "chosen": [SYSTEM, user("What is tea?"), assistant("Good")],
            "rejected": [SYSTEM, user("What is tea?"), assistant("Bad")],
        },
    ),
    (
        "messages",
        LONG_PROMPT,
        {
            "prompt": [user("Hi"), assistant("Hello"), user("What is tea?")],
            "chosen": [user("What is tea?"), assistant("Good")],
            "rejected": assistant("Bad"),
        },
    ),
    (
        "hh",
        SYSTEM_PROMPT,
        {"prompt": [SYSTEM, user("What is tea?")], "chosen": PROMPT + " Good", "rejected": PROMPT + " Bad"},
    ),
    (
        "messages",
        f"\n\nSystem: Be brief.{LONG_PROMPT}",
        {
            "prompt": [SYSTEM, user("Hi")],
            "chosen": [user("Hi"), assistant("Hello"), user("What is tea?"), assistant("Good")],
            "rejected": [user("Hi"), assistant("Hello"), user("What is tea?"), assistant("Bad")],
        },
    ),
]


@pytest.mark.parametrize(("form", "prompt", "values"), GOOD_ROWS)
def test_each_format_is_detected_and_read(form: Format, prompt: str, values: dict[str, Any]) -> None:
    assert detect_format(row(**values)) == form
    pair = read_pair(row(**values), form)
    assert (pair.prompt, pair.rejected_prompt, pair.chosen, pair.rejected) == (prompt, prompt, "Good", "Bad")
    assert pair.margin is None
    assert pair.split is None


def test_margin_and_split_are_read_where_they_stand() -> None:
    pair = read_pair(row(prompt="a", chosen="b", rejected="c", margin=2, split="validation"), "strings")
    assert pair.margin == 2.0
    assert pair.split == "validation"


def test_a_turn_label_inside_foreign_text_does_not_become_a_turn() -> None:
    pair = read_pair(row(prompt="a\n\nHuman: b", chosen="c\n\nAssistant: d", rejected="e"), "strings")
    assert pair.prompt == "\n\nHuman: a\nHuman: b\n\nAssistant:"
    assert pair.chosen == "c\nAssistant: d"


@pytest.mark.parametrize(
    "response",
    [" A drink. ", assistant("A drink."), [assistant("A drink.")], [user("What is tea?"), assistant("A drink.")]],
)
def test_a_response_is_text_a_message_or_a_conversation(response: object) -> None:
    demonstration = read_demonstration(row(prompt="What is tea?", response=response))
    assert (demonstration.prompt, demonstration.response) == (PROMPT, "A drink.")


def test_a_text_is_a_conversation_only_where_a_human_speaks() -> None:
    assert read_prompt(row(prompt="System: Linux. How do I list files?")).startswith("\n\nHuman: System: Linux.")
    assert read_prompt(row(prompt=f"System: Be brief.{PROMPT}")) == SYSTEM_PROMPT


def test_a_demonstration_has_prompt_and_response() -> None:
    demonstration = read_demonstration(row(prompt=PROMPT, response=" A drink. ", split="sft"))
    assert (demonstration.prompt, demonstration.response, demonstration.split) == (PROMPT, "A drink.", "sft")


@pytest.mark.parametrize(
    ("form", "values", "message"),
    [
        ("hh", {"rejected": PROMPT + " Bad"}, "`chosen` is missing; the row has `rejected`"),
        ("hh", {"chosen": None, "rejected": PROMPT + " Bad"}, "`chosen` is missing: it is null, and must be text"),
        ("hh", {"chosen": PROMPT + " Good"}, "`rejected` is missing"),
        ("hh", {"chosen": None, "rejected": PROMPT}, "`chosen` is missing"),
        ("hh", {"chosen": 3, "rejected": PROMPT}, "`chosen` must be text, not int"),
        ("hh", {"chosen": "Good", "rejected": "Bad"}, "`chosen`: a conversation must begin with"),
        ("hh", {"chosen": "\n\nHuman: a", "rejected": PROMPT}, "`chosen` does not end in an assistant turn"),
        ("hh", {"chosen": "\n\nAssistant: a", "rejected": PROMPT}, "`chosen` has no turn before the assistant's"),
        ("strings", {"chosen": "b", "rejected": "c"}, "`prompt` is missing"),
        ("strings", {"prompt": "  ", "chosen": "b", "rejected": "c"}, "`prompt` is empty"),
        ("strings", {"prompt": PROMPT + " x", "chosen": "b", "rejected": "c"}, "`prompt` ends in an assistant turn"),
        ("strings", {"prompt": "a", "chosen": ["b"], "rejected": "c"}, "`chosen` must be text, not list"),
        (
            "strings",
            {"prompt": "a", "chosen": "b", "rejected": "c", "margin": "1"},
            "`margin` must be a finite number, not '1'",
        ),
        (
            "strings",
            {"prompt": "a", "chosen": "b", "rejected": "c", "margin": float("nan")},
            "`margin` must be a finite number",
        ),
        (
            "strings",
            {"prompt": "a", "chosen": "b", "rejected": "c", "split": "train"},
            "`split` is 'train'; allowed: sft, reward",
        ),
        ("messages", {"prompt": "a", "chosen": "b", "rejected": "c"}, "`chosen` must be a list of messages, not str"),
        ("messages", {"prompt": "a", "chosen": [], "rejected": []}, "`chosen` is an empty list of messages"),
        (
            "messages",
            {"prompt": "a", "chosen": ["b"], "rejected": []},
            "each message of `chosen` must be {role, content}",
        ),
        (
            "messages",
            {"chosen": [{"role": "tool", "content": "b"}], "rejected": []},
            "`chosen` has the role 'tool'; allowed: user",
        ),
        ("messages", {"chosen": [user("a"), user("b")], "rejected": []}, "`chosen` does not end in an assistant turn"),
        (
            "messages",
            {"prompt": [user("x")], "chosen": [user("a"), assistant("b")], "rejected": []},
            "`prompt` and `chosen` hold different conversations; give one of the two",
        ),
        (
            "messages",
            {"prompt": [SYSTEM, user("a")], "chosen": [SYSTEM | {"content": "Hi"}, user("a"), assistant("b")]},
            "`chosen` and the row's prompt have different system turns; give one of the two",
        ),
    ],
)
def test_a_wrong_row_is_named_with_its_field(form: Format, values: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError) as error:
        read_pair(row(**values), form)
    assert str(error.value).startswith(f"pairs.jsonl, line 7: {message}")
