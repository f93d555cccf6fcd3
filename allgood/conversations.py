r"""Conversations as text: the format of Anthropic's hh-rlhf data, read and written in one place.

A conversation is a sequence of turns, each `\n\nHuman: ...`, `\n\nAssistant: ...` or `\n\nSystem: ...`. A *prompt* is a
conversation that ends in an empty assistant turn, so its text ends exactly in `\n\nAssistant:`. A *response* is
stripped text. `render(parse(text)) == text` holds for text that is already in this form; other spacing around turns is
brought to it.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Role = Literal["system", "human", "assistant"]

_LABELS: dict[Role, str] = {"system": "System", "human": "Human", "assistant": "Assistant"}
_ROLES: dict[str, Role] = {label: role for role, label in _LABELS.items()}
ROLES_IN_MESSAGES: Mapping[Role, str] = {"system": "system", "human": "user", "assistant": "assistant"}
_MESSAGE_ROLES: dict[str, Role] = {
    "user": "human",
    "human": "human",
    "assistant": "assistant",
    "gpt": "assistant",
    "system": "system",
}
_MARKER = re.compile(r"(?:\A|\n\n)(Human|Assistant|System):")
_MARKER_INSIDE = re.compile(r"\n{2,}(?=(?:Human|Assistant|System):)")


@dataclass(frozen=True)
class Turn:
    """What one side says. `content` is stripped; it is empty where a response is still to come."""

    role: Role
    content: str


Turns = tuple[Turn, ...]


def parse(text: str) -> Turns:
    """The turns of a conversation.

    Raises:
        ValueError: The text does not begin with `Human:`, `Assistant:` or `System:`.
    """
    text = text.replace("\r\n", "\n").lstrip()
    pieces = _MARKER.split(text)  # text before the first marker, label, content, label, content, ...
    if len(pieces) == 1 or pieces[0]:
        raise ValueError(f"a conversation must begin with 'Human:', 'Assistant:' or 'System:', not with {text[:40]!r}")
    labels, contents = pieces[1::2], pieces[2::2]
    return tuple(Turn(_ROLES[label], content.strip()) for label, content in zip(labels, contents, strict=True))


def is_labelled(text: str) -> bool:
    """Whether a text is a conversation with labels, and not what somebody says."""
    start = text.lstrip()
    return start.startswith("Human:") or (start.startswith("System:") and "\n\nHuman:" in start.replace("\r\n", "\n"))


def turns_of_messages(messages: Sequence[object], *, field: str) -> Turns:
    """The turns of a list of messages, each {role, content} or {from, value}; `field` is what errors call the list.

    A content is text, or a list of parts that are all text. Whatever else a message has is not read.

    Raises:
        ValueError: There is no message, or one is none of these.

    >>> turns_of_messages([{"role": "user", "content": "Hello"}], field="prompt")
    (Turn(role='human', content='Hello'),)
    """
    if not messages:
        raise ValueError(f"`{field}` is an empty list of messages")
    return tuple(turn_of_message(message, field=field) for message in messages)


def turn_of_message(message: object, *, field: str) -> Turn:
    """The turn of one message; see `turns_of_messages`."""
    content = message.get("content", message.get("value")) if isinstance(message, Mapping) else None
    if not isinstance(message, Mapping) or not isinstance(content, str | list):
        raise ValueError(f"each message of `{field}` must be {{role, content}}, both text, not {str(message)[:80]}")
    role = message.get("role", message.get("from"))
    if role not in _MESSAGE_ROLES:
        raise ValueError(f"`{field}` has the role {role!r:.40}; allowed: {', '.join(_MESSAGE_ROLES)}")
    text = content if isinstance(content, str) else "".join(_part(part, field) for part in content)
    return Turn(_MESSAGE_ROLES[role], as_content(text))


def messages_of_turns(turns: Iterable[Turn]) -> list[dict[str, str]]:
    """The turns as messages {role, content}, which `turns_of_messages` reads back.

    >>> messages_of_turns([Turn("human", "Hello")])
    [{'role': 'user', 'content': 'Hello'}]
    """
    return [{"role": ROLES_IN_MESSAGES[turn.role], "content": turn.content} for turn in turns]


def turns_to_answer(turns: Turns, *, field: str) -> Turns:
    """The turns that the assistant is to answer: without the empty turn that a prompt ends in.

    Raises:
        ValueError: The human says nothing, or the assistant has the last word.
    """
    turns = turns[:-1] if turns and turns[-1] == Turn("assistant", "") else turns
    if not any(turn.content for turn in turns if turn.role == "human"):
        raise ValueError(f"`{field}` is empty: no user says anything in it")
    if turns[-1].role == "assistant":
        raise ValueError(f"`{field}` ends in an assistant turn, so there is nothing to answer")
    return turns


def render(turns: Iterable[Turn]) -> str:
    """The text of a conversation. Empty turns end in their label, without a space."""
    return "".join(f"\n\n{_LABELS[turn.role]}: {turn.content}".removesuffix(" ") for turn in turns)


def as_content(text: str) -> str:
    """Foreign text made safe to stand inside a turn: stripped, and without an empty line before a turn label."""
    return _MARKER_INSIDE.sub("\n", text.replace("\r\n", "\n")).strip()


def as_prompt(turns: Iterable[Turn]) -> str:
    """The prompt that asks the assistant to continue `turns`."""
    return render([*turns, Turn("assistant", "")])


def split_system(turns: Turns) -> tuple[Turns, Turns]:
    """The system turns that a conversation begins with, and the rest; of two turns or less all is the rest."""
    end = next((index for index, turn in enumerate(turns) if turn.role != "system"), len(turns))
    end = max(0, min(end, len(turns) - 2))
    return turns[:end], turns[end:]


def join(prompt: str, response: str) -> str:
    """Prompt and response as one conversation."""
    return f"{prompt} {response}" if response else prompt


def first_human_turn(prompt: str) -> str:
    """What the human says first; empty in a conversation without a human."""
    return next((turn.content for turn in parse(prompt) if turn.role == "human"), "")


def prompt_id(prompt: str) -> str:
    """The name of a prompt in tables and logs: the first 16 hex digits of its SHA-256."""
    return hashlib.sha256(prompt.encode("utf-8")).hexdigest()[:16]


def normalise(text: str) -> str:
    """Words only, in lower case and canonical Unicode, for comparing prompts. Text without words keeps its symbols."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(re.findall(r"\w+", folded)) or " ".join(folded.split())


def _part(part: object, field: str) -> str:
    if isinstance(part, str):
        return part
    if isinstance(part, Mapping) and part.get("type") == "text" and isinstance(part.get("text"), str):
        return str(part["text"])
    kind = part.get("type") if isinstance(part, Mapping) else type(part).__name__
    raise ValueError(f"`{field}` has a part of type {kind!r:.40} in its content; only text can be read")
