"""Prompts and answers of a row as turns, in whichever of the field's ways the row writes them.

A prompt is text (what the user says, or a conversation with `Human:`/`Assistant:` labels) or a list of messages. An
answer is text, a message, or a list of messages: what comes after the prompt, or the whole conversation. A message is
{role, content} or {from, value}; its content is text, or a list of parts that are all text. Whatever else it has is not
read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

from allgood.conversations import (
    Turn,
    as_content,
    is_labelled,
    parse,
    turn_of_message,
    turns_of_messages,
    turns_to_answer,
)
from allgood.errors import DataError
from pipelines.data.sources import Row

Turns = tuple[Turn, ...]
PromptFormat = Literal["auto", "hh", "strings", "messages"]


def prompt_turns(row: Row, form: PromptFormat = "auto") -> Turns:
    """The turns that the assistant is to continue: the row's `prompt`, after its `system` where that is read.

    Raises:
        DataError: There is no prompt, it is empty, of another format, or has nothing to answer; names the row.
    """
    turns = _with_system(row, _prompt(row, form))
    with _naming(row):
        return turns_to_answer(turns, field="prompt")


def system_turns(row: Row) -> Turns:
    """The system turn that stands in a field of its own, which is read where `columns` names it; usually none."""
    if row.values.get("system") is None:
        return ()
    text = as_content(field_of(row, "system", str))
    return (Turn("system", text),) if text else ()


def answer_turns(row: Row, field: str) -> Turns:
    """What a row says in `field`, as text, as one message or as a list of them. Text is what the assistant says.

    Raises:
        DataError: The field is missing or is none of these; names the row.
    """
    value = row.values.get(field)
    if isinstance(value, list):
        return messages(row, field)
    if isinstance(value, Mapping):
        with _naming(row):
            return (turn_of_message(value, field=field),)
    return (Turn("assistant", as_content(field_of(row, field, str))),)


def num_stripped(rows: Iterable[Row], fields: Sequence[str]) -> int:
    """Rows of which a text loses blanks around it, or an empty line before what reads like a label inside it.

    Conversations with labels are not looked at: blanks around their turns are part of the format.
    """
    return sum(any(_is_stripped(row.values.get(field)) for field in fields) for row in rows)


def _is_stripped(value: object) -> bool:
    if isinstance(value, Mapping):
        return any(_is_stripped(value.get(name)) for name in ("content", "value", "text"))
    if isinstance(value, list):
        parts = [part.get("text") for part in value if isinstance(part, Mapping) and part.get("type") == "text"]
        return _is_stripped("".join(map(str, parts))) if parts else any(map(_is_stripped, value))
    return isinstance(value, str) and not is_labelled(value) and as_content(value) != value


def messages(row: Row, field: str) -> Turns:
    """The turns of a list of messages."""
    found = field_of(row, field, list)
    with _naming(row):
        return turns_of_messages(found, field=field)


def labelled(row: Row, field: str) -> Turns:
    """The turns of a text with `Human:` and `Assistant:` labels."""
    try:
        return parse(field_of(row, field, str))
    except ValueError as error:
        raise DataError(f"{row.place}: `{field}`: {error}") from error


def field_of(row: Row, name: str, kind: type[Any]) -> Any:
    """A field that must be there and of a type; DataError with what the row has instead."""
    value = row.values.get(name)
    words: dict[type[Any], str] = {str: "text", list: "a list of messages"}
    if value is None and name in row.values:
        raise DataError(f"{row.place}: `{name}` is missing: it is null, and must be {words[kind]}")
    if value is None:
        present = ", ".join(f"`{key}`" for key in (*row.values, *row.unread)) or "nothing"
        raise DataError(f"{row.place}: `{name}` is missing; the row has {present}")
    if not isinstance(value, kind):
        raise DataError(f"{row.place}: `{name}` must be {words[kind]}, not {type(value).__name__}")
    return value


def _prompt(row: Row, form: PromptFormat) -> Turns:
    value = row.values.get("prompt")
    if form == "messages" or (form == "auto" and isinstance(value, list)):
        return messages(row, "prompt")
    text = field_of(row, "prompt", str)
    if form == "hh" or (form == "auto" and is_labelled(text)):
        return labelled(row, "prompt")
    return (Turn("human", as_content(text)),)


def _with_system(row: Row, turns: Turns) -> Turns:
    """The turns after the row's own system text, if it has one."""
    system = system_turns(row)
    if system and any(turn.role == "system" for turn in turns):
        raise DataError(f"{row.place}: the row has `system`, and `prompt` has a system turn; leave one of them out")
    return (*system, *turns)


@contextmanager
def _naming(row: Row) -> Iterator[None]:
    """Say which row a conversation that cannot be read stands in."""
    try:
        yield
    except ValueError as error:
        raise DataError(f"{row.place}: {error}") from error
