"""Dialects: what each server is asked, and what its answer is read as."""

from __future__ import annotations

from typing import Any

import pytest

from allgood.scorers.dialects import Question, wire_of
from allgood.scorers.spec import HttpSpec, Server

ASKED = [
    Question([{"role": "user", "content": "p"}, {"role": "assistant", "content": "a"}], "p a", "p", "a"),
    Question([{"role": "user", "content": "q"}, {"role": "assistant", "content": "b"}], "q b", "q", "b"),
]


def spec(dialect: Any, template: Any = "none", **further: Any) -> HttpSpec:
    return HttpSpec("judge", Server("http://host"), dialect, template=template, **further)


@pytest.mark.parametrize(
    ("dialect", "further", "body"),
    [
        ("vllm_classify", {}, {"model": "judge", "use_activation": False, "input": ["p a", "q b"]}),
        ("vllm_pooling", {}, {"model": "judge", "use_activation": False, "input": ["p a", "q b"]}),
        ("sglang", {}, {"model": "judge", "text": ["p a", "q b"]}),
        ("openrlhf", {}, {"query": ["p a", "q b"], "prompts": ["p", "q"], "labels": [None, None]}),
        (
            "allgood",
            {"template": "server", "served_property": "liked"},
            {
                "objective": "judge",
                "rows": [
                    {"prompt": "p", "response": "a", "was_cut": False},
                    {"prompt": "q", "response": "b", "was_cut": False},
                ],
            },
        ),
    ],
)
def test_a_request_asks_for_all_of_them(dialect: str, further: dict[str, str], body: dict[str, Any]) -> None:
    wire = wire_of(spec(dialect, **further))
    assert wire.batches
    assert wire.body(ASKED) == body


@pytest.mark.parametrize("dialect", ["vllm_classify", "vllm_pooling"])
def test_messages_go_one_conversation_at_a_time(dialect: str) -> None:
    wire = wire_of(spec(dialect, "server"))
    assert not wire.batches
    assert wire.body(ASKED[:1]) == {"model": "judge", "use_activation": False, "messages": ASKED[0].messages}


@pytest.mark.parametrize(
    ("dialect", "answer"),
    [
        ("vllm_classify", {"data": [{"index": 1, "probs": [2.0]}, {"index": 0, "probs": [-1.5]}]}),
        ("vllm_pooling", {"data": [{"index": 0, "data": [-1.5]}, {"index": 1, "data": [2]}]}),
        ("vllm_pooling", {"data": [{"index": 0, "data": [[7.0], [-1.5]]}, {"index": 1, "data": [[2.0]]}]}),
        ("sglang", [{"embedding": [-1.5]}, {"embedding": [2.0]}]),
        ("openrlhf", {"rewards": [-1.5, 2.0], "scores": [0.1, 0.9]}),
        ("openrlhf", {"rewards": [[-1.5], [2.0]]}),
    ],
)
def test_an_answer_has_a_reward_for_each_in_their_order(dialect: str, answer: Any) -> None:
    assert wire_of(spec(dialect)).answers(answer, 2) == [-1.5, 2.0]


def test_our_own_service_says_why_a_reward_is_missing() -> None:
    wire = wire_of(spec("allgood", "server", served_property="liked"))
    rows = [
        {"reason": None, "properties": {"liked": {"reward": 3.0}}},
        {"reason": "liked: it is too long", "properties": {"liked": {"reward": None}}},
    ]
    assert wire.answers({"rows": rows}, 2) == [3.0, "liked: it is too long"]
    with pytest.raises(ValueError, match="it has no property 'liked', only 'other'"):
        wire.answers({"rows": [{"reason": None, "properties": {"other": {"reward": 1.0}}}]}, 1)


@pytest.mark.parametrize("value", [None, float("nan"), float("inf"), True, "7"])
def test_what_is_no_finite_number_is_a_reason_and_never_0(value: Any) -> None:
    (answer,) = wire_of(spec("openrlhf")).answers({"rewards": [value]}, 1)
    assert answer == f"the server answered {value!r} for a reward"


@pytest.mark.parametrize(
    ("dialect", "answer", "message"),
    [
        ("openrlhf", {"rewards": [1.0]}, "it has 1 rewards for 2 responses"),
        ("openrlhf", {"rewards": 1.0}, "it has no rewards for 2 responses"),
        (
            "vllm_classify",
            {"data": [{"probs": [0.1, 0.9]}] * 2},
            "a response has 2 numbers, and a reward model gives one",
        ),
        ("sglang", [{"embedding": [0.1] * 384}] * 2, "a response has 384 numbers"),
    ],
)
def test_another_form_is_refused(dialect: str, answer: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        wire_of(spec(dialect)).answers(answer, 2)


@pytest.mark.parametrize(
    ("dialect", "further", "message"),
    [
        ("sglang", {"template": "server"}, "takes text, not messages"),
        ("vllm_classify", {"template": "here"}, "`tokenizer` belongs to `template: here`"),
        ("vllm_classify", {"tokenizer": "some/name"}, "`tokenizer` belongs to `template: here`"),
        ("allgood", {"template": "server"}, "`served_property` belongs to `dialect: allgood`"),
        ("allgood", {"template": "none", "served_property": "liked"}, "applies templates itself"),
    ],
)
def test_parts_that_do_not_fit_together_are_refused(dialect: str, further: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        spec(dialect, **further)
