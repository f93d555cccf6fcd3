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
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Role = Literal["system", "human", "assistant"]

_LABELS: dict[Role, str] = {"system": "System", "human": "Human", "assistant": "Assistant"}
_ROLES: dict[str, Role] = {label: role for role, label in _LABELS.items()}
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
