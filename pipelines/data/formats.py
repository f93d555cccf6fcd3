"""Rows to preference pairs and demonstrations, from the three formats that preference data come in.

hh: `chosen` and `rejected` are whole conversations as `Human:`/`Assistant:` text. strings: `prompt`, `chosen` and
`rejected` (a prompt without labels is what the human says). messages: lists of {role, content}; `chosen` and `rejected`
continue `prompt`, or are whole conversations. Rows may carry a `margin` (float) and a `split`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, cast

from allgood.conversations import Role, Turn, as_content, as_prompt, parse
from allgood.errors import DataError
from pipelines.data.prepared import SPLITS, Split
from pipelines.data.sources import Row

Format = Literal["hh", "strings", "messages"]
_ROLES: dict[str, Role] = {"user": "human", "human": "human", "assistant": "assistant", "system": "system"}


@dataclass(frozen=True)
class RawPair:
    """A row's pair. The two prompts differ where the conversations part before their last turn."""

    place: str
    prompt: str
    rejected_prompt: str
    chosen: str
    rejected: str
    margin: float | None
    split: Split | None


@dataclass(frozen=True)
class RawDemonstration:
    """A row's prompt and response; `response` is empty in files that hold prompts only."""

    prompt: str
    response: str
    split: Split | None


def detect_format(row: Row) -> Format:
    """The format of a source, from its first row."""
    chosen = row.values.get("chosen")
    if isinstance(chosen, list):
        return "messages"
    if isinstance(chosen, str) and chosen.lstrip().startswith(("Human:", "System:")):
        return "hh"
    return "strings" if "prompt" in row.values else "hh"


def read_pair(row: Row, form: Format) -> RawPair:
    """The pair of a row.

    Raises:
        DataError: A field is missing or has the wrong type, or the text is no conversation; names the row.
    """
    (prompt, chosen), (rejected_prompt, rejected) = (
        _conversation(row, field, form) for field in ("chosen", "rejected")
    )
    return RawPair(row.place, prompt, rejected_prompt, chosen, rejected, _margin(row), _split(row))


def read_demonstration(row: Row) -> RawDemonstration:
    """Prompt and response of a row with `prompt` and `response` (texts, or the prompt as a list of messages)."""
    return RawDemonstration(read_prompt(row), as_content(_field(row, "response", str)), _split(row))


def read_prompt(row: Row) -> str:
    """The prompt of a row with `prompt`."""
    return as_prompt(_prompt_turns(row))


def read_split(row: Row) -> Split | None:
    """The split that a row asks for, if any."""
    return _split(row)


def _conversation(row: Row, field: str, form: Format) -> tuple[str, str]:
    """Prompt and response of `chosen` or `rejected`."""
    if form == "strings":
        return as_prompt(_prompt_turns(row)), as_content(_field(row, field, str))
    if form == "hh":
        turns = _parse(row, field, _field(row, field, str))
    else:
        turns = _messages(row, field)
        if turns[0].role == "assistant":  # it continues the prompt
            turns = (*_prompt_turns(row), *turns)
    if turns[-1].role != "assistant":
        raise DataError(f"{row.place}: `{field}` does not end in an assistant turn")
    if len(turns) == 1:
        raise DataError(f"{row.place}: `{field}` has no turn before the assistant's")
    return as_prompt(turns[:-1]), turns[-1].content


def _prompt_turns(row: Row) -> tuple[Turn, ...]:
    value = row.values.get("prompt")
    if isinstance(value, list):
        turns = _messages(row, "prompt")
    else:
        text = _field(row, "prompt", str)
        labelled = text.lstrip().startswith(("Human:", "System:"))
        turns = _parse(row, "prompt", text) if labelled else (Turn("human", as_content(text)),)
        if turns[-1] == Turn("assistant", ""):
            turns = turns[:-1]
    if not any(turn.content for turn in turns):
        raise DataError(f"{row.place}: `prompt` is empty")
    if turns[-1].role == "assistant":
        raise DataError(f"{row.place}: `prompt` ends in an assistant turn, so there is nothing to answer")
    return turns


def _messages(row: Row, field: str) -> tuple[Turn, ...]:
    messages = _field(row, field, list)
    if not messages:
        raise DataError(f"{row.place}: `{field}` is an empty list of messages")
    return tuple(_message(row, field, message) for message in messages)


def _message(row: Row, field: str, message: object) -> Turn:
    if not isinstance(message, dict) or not isinstance(message.get("content"), str):
        raise DataError(
            f"{row.place}: each message of `{field}` must be {{role, content}}, both text, not {str(message)[:80]}"
        )
    role = message.get("role")
    if role not in _ROLES:
        raise DataError(f"{row.place}: `{field}` has the role {role!r}; allowed: {', '.join(_ROLES)}")
    return Turn(_ROLES[role], as_content(message["content"]))


def _parse(row: Row, field: str, text: str) -> tuple[Turn, ...]:
    try:
        return parse(text)
    except ValueError as error:
        raise DataError(f"{row.place}: `{field}`: {error}") from error


def _field(row: Row, name: str, kind: type[Any]) -> Any:
    value = row.values.get(name)
    words: dict[type[Any], str] = {str: "text", list: "a list of messages"}
    if value is None and name in row.values:
        raise DataError(f"{row.place}: `{name}` is missing: it is null, and must be {words[kind]}")
    if value is None:
        present = ", ".join(f"`{key}`" for key in row.values) or "nothing"
        raise DataError(f"{row.place}: `{name}` is missing; the row has {present}")
    if not isinstance(value, kind):
        raise DataError(f"{row.place}: `{name}` must be {words[kind]}, not {type(value).__name__}")
    return value


def _margin(row: Row) -> float | None:
    value = row.values.get("margin")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise DataError(f"{row.place}: `margin` must be a finite number, not {value!r:.40}")
    return float(value)


def _split(row: Row) -> Split | None:
    value = row.values.get("split")
    if value is None:
        return None
    if value not in SPLITS:
        raise DataError(f"{row.place}: `split` is {value!r:.40}; allowed: {', '.join(SPLITS)}")
    return cast(Split, value)
