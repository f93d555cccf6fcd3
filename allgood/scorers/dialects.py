"""How servers of rewards are asked and what they answer, as JSON: vLLM, SGLang, OpenRLHF, and our own service.

| dialect | asked | answered |
| --- | --- | --- |
| `vllm_classify` | `{model, input: [text] or messages, use_activation: false}` | `{data: [{index, probs: [reward]}]}` |
| `vllm_pooling` | the same | `{data: [{index, data: [reward] or one per token}]}` |
| `sglang` (`/classify`) | `{model, text: [text]}` | `[{embedding: [reward]}]` |
| `openrlhf` | `{query: [text], prompts: [text], labels: [null]}` | `{rewards: [reward]}` |
| `allgood` (`/v1/score`) | see `wire` | see `wire` |

Sources: vLLM's pooling models and its `ClassificationRequest` and `PoolingResponseData`; SGLang's native APIs;
OpenRLHF's `serve_rm`. A reward that is no finite number is a reason instead.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from allgood.scorers.spec import HttpSpec

Answer = float | str
"""A reward, or why there is none."""


@dataclass(frozen=True)
class Question:
    """A response to score: as messages, as one text, and the text of the prompt alone."""

    messages: Sequence[Mapping[str, str]]
    text: str
    prompt: str
    response: str


@dataclass(frozen=True)
class Wire:
    """A dialect for one served model.

    Attributes:
        body: Of a request for these questions.
        answers: What an answer says of that many questions, in their order; ValueError where it is of another form.
        batches: Whether one request may ask for several.
    """

    body: Callable[[Sequence[Question]], dict[str, Any]]
    answers: Callable[[Any, int], list[Answer]]
    batches: bool = True


def wire_of(spec: HttpSpec) -> Wire:
    """The dialect that the spec names."""
    match spec.dialect:
        case "vllm_classify":
            return _vllm(spec, "probs")
        case "vllm_pooling":
            return _vllm(spec, "data")
        case "sglang":
            return Wire(lambda asked: {"model": spec.source, "text": [question.text for question in asked]}, _sglang)
        case "openrlhf":
            return Wire(_openrlhf_body, lambda answer, num: _counted(answer["rewards"], num, _number))
        case "allgood":
            return Wire(
                lambda asked: {"objective": spec.source, "rows": [_row(question) for question in asked]},
                lambda answer, num: _counted(answer["rows"], num, lambda row: _scored(row, str(spec.served_property))),
            )


def _vllm(spec: HttpSpec, field: str) -> Wire:
    head = {"model": spec.source, "use_activation": False}  # its default is a sigmoid or softmax over the reward
    if spec.template == "server":  # vLLM takes the messages of one conversation at a time
        return Wire(lambda asked: head | {"messages": list(asked[0].messages)}, _reader(field), batches=False)
    return Wire(lambda asked: head | {"input": [question.text for question in asked]}, _reader(field))


def _reader(field: str) -> Callable[[Any, int], list[Answer]]:
    def read(answer: Any, num: int) -> list[Answer]:
        rows = sorted(answer["data"], key=lambda row: row.get("index", 0))
        return _counted(rows, num, lambda row: _last(row[field]))

    return read


def _sglang(answer: Any, num: int) -> list[Answer]:
    rows = [answer] if isinstance(answer, dict) else answer
    return _counted(rows, num, lambda row: _last(row["embedding"]))


def _openrlhf_body(asked: Sequence[Question]) -> dict[str, Any]:
    return {
        "query": [question.text for question in asked],
        "prompts": [question.prompt for question in asked],
        "labels": [None] * len(asked),
    }


def _row(question: Question) -> dict[str, Any]:
    return {"prompt": question.prompt, "response": question.response, "was_cut": False}  # a raw reward knows no cut


def _scored(row: Any, name: str) -> Answer:
    if name not in row["properties"]:
        raise ValueError(f"it has no property {name!r}, only {', '.join(map(repr, row['properties']))}")
    reward = row["properties"][name]["reward"]
    return str(row["reason"] or "it has no reward") if reward is None else _number(reward)


def _last(values: Any) -> Answer:
    """The one number of a response, or that of its last token; a vector of more is no reward."""
    if values and isinstance(values[-1], list):
        values = values[-1]
    if len(values) != 1:
        raise ValueError(f"a response has {len(values)} numbers, and a reward model gives one")
    return _number(values[0])


def _number(value: Any) -> Answer:
    if isinstance(value, list) and len(value) == 1:  # some servers of this dialect answer one list per query
        value = value[0]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and math.isfinite(value) else f"the server answered {value!r:.40} for a reward"


def _counted(rows: Any, num: int, read: Callable[[Any], Answer]) -> list[Answer]:
    if not isinstance(rows, list) or len(rows) != num:
        raise ValueError(f"it has {len(rows) if isinstance(rows, list) else 'no'} rewards for {num} responses")
    return [read(row) for row in rows]
