"""Rows to preference pairs and demonstrations, from the three formats that preference data come in.

hh: `chosen` and `rejected` are whole conversations as `Human:`/`Assistant:` text. strings: `prompt`, `chosen` and
`rejected` (a prompt without labels is what the human says). messages: `chosen` and `rejected` are lists of
{role, content}, or one of them; they continue `prompt`, or are whole conversations. What then only `prompt` says, such
as a system turn, stands before them. Rows may carry a `margin` (float) and a `split`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast

from allgood.conversations import as_content, as_prompt, is_labelled
from allgood.errors import DataError
from pipelines.data.prepared import SPLITS, Split
from pipelines.data.sources import Row
from pipelines.data.turns import (
    PromptFormat,
    Turns,
    answer_turns,
    field_of,
    labelled,
    messages,
    prompt_turns,
    system_turns,
)

Format = Literal["hh", "strings", "messages"]


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
    if isinstance(chosen, list | Mapping):
        return "messages"
    if isinstance(chosen, str) and is_labelled(chosen):
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
    return RawPair(row.place, prompt, rejected_prompt, chosen, rejected, _margin(row), read_split(row))


def read_demonstration(row: Row, form: PromptFormat = "auto") -> RawDemonstration:
    """Prompt and response of a row with `prompt` and `response`; the response may be a whole conversation."""
    prompt, response = _answered(row, "response", answer_turns(row, "response"), form)
    return RawDemonstration(prompt, response, read_split(row))


def read_prompt(row: Row, form: PromptFormat = "auto") -> str:
    """The prompt of a row with `prompt`."""
    return as_prompt(prompt_turns(row, form))


def read_split(row: Row) -> Split | None:
    """The split that a row asks for, if any."""
    value = row.values.get("split")
    if value is None:
        return None
    if value not in SPLITS:
        raise DataError(
            f"{row.place}: `split` is {value!r:.40}; allowed: {', '.join(SPLITS)} (a column of another meaning is left "
            "unread with `columns: {split: null}`)"
        )
    return cast(Split, value)


def _conversation(row: Row, field: str, form: Format) -> tuple[str, str]:
    """Prompt and response of `chosen` or `rejected`."""
    if form == "strings":
        return as_prompt(prompt_turns(row)), as_content(field_of(row, field, str))
    if form == "hh":
        turns = labelled(row, field)
        if len(turns) == 1 and turns[0].role == "assistant":
            raise DataError(f"{row.place}: `{field}` has no turn before the assistant's")
        return _answered(row, field, turns, "auto")
    is_message = isinstance(row.values.get(field), Mapping)
    return _answered(row, field, answer_turns(row, field) if is_message else messages(row, field), "auto")


def _answered(row: Row, field: str, turns: Turns, form: PromptFormat) -> tuple[str, str]:
    """Prompt and response of turns that continue the row's prompt, or are a conversation of their own."""
    if turns[-1].role != "assistant":
        raise DataError(f"{row.place}: `{field}` does not end in an assistant turn")
    if turns[0].role == "assistant":
        asked = (*prompt_turns(row, form), *turns[:-1])
    else:
        asked = _with_prompt(row, field, turns[:-1])
    return as_prompt(asked), turns[-1].content


def _with_prompt(row: Row, field: str, asked: Turns) -> Turns:
    """The turns before the answer in a whole conversation, with what only the row's `prompt` says before them."""
    stated = _stated(row)
    if stated[len(stated) - len(asked) :] == asked:
        return stated
    own, said = _systems(asked), _without_systems(asked)
    if not _contains(said, _without_systems(stated)):
        raise DataError(f"{row.place}: `prompt` and `{field}` hold different conversations; give one of the two")
    systems = _systems(stated)
    if own and systems and own != systems:
        raise DataError(f"{row.place}: `{field}` and the row's prompt have different system turns; give one of the two")
    return asked if own else (*systems, *asked)


def _stated(row: Row) -> Turns:
    """What a row with whole conversations says of their beginning elsewhere. Unlabelled text may be of any turn."""
    value = row.values.get("prompt")
    if (isinstance(value, list) and value) or (isinstance(value, str) and is_labelled(value)):
        return prompt_turns(row)
    return system_turns(row)


def _systems(turns: Turns) -> Turns:
    return tuple(turn for turn in turns if turn.role == "system")


def _without_systems(turns: Turns) -> Turns:
    return tuple(turn for turn in turns if turn.role != "system")


def _contains(turns: Turns, part: Turns) -> bool:
    """Whether `part` stands in `turns`, all of it in a row."""
    return any(turns[start : start + len(part)] == part for start in range(len(turns) - len(part) + 1))


def _margin(row: Row) -> float | None:
    value = row.values.get("margin")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise DataError(f"{row.place}: `margin` must be a finite number, not {value!r:.40}")
    return float(value)
