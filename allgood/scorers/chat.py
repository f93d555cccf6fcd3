"""What a tokenizer's chat template makes of conversations, and what it leaves out of them.

Templates are foreign code. Each is tried on short conversations before it is used: whether it wants a content as text
or as a list of parts, and whether it keeps a system turn. A system turn that it refuses or drops is put in front of
the first human turn, which is said once in the log; a template that leaves out human turns or replies is refused. In
every rendering the turns are counted whose text does not occur in it as a whole, up to white space: templates of
reasoning models leave the reasoning out of earlier replies. That a template writes the day's date is said in the log.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import groupby
from typing import Any

from transformers import PreTrainedTokenizerBase

from allgood.conversations import ROLES_IN_MESSAGES, Turn
from allgood.errors import ModelError
from allgood.scorers.markup import Markup

Span = tuple[int, int]
Message = tuple[str, str]
"""(role, content)."""

_SYSTEM, _USER, _REPLY = (("system", "qz rule"), ("user", "qz question"), ("assistant", "qz reply"))
_NEXT = ("user", "qz further")
# Stand around a reply while its place in a rendering is sought; never characters of a text.
_OPENS, _CLOSES = "\ufdd1", "\ufdd2"


@dataclass(frozen=True)
class Rendering:
    """A conversation as a template writes it, and how many of its turns do not stand in it as a whole."""

    text: str
    num_changed: int


class ChatTemplate:
    """Renders conversations; `markup` says which tokens are the template's own.

    Attributes:
        before_reply: What stands between a human turn and the reply to it where the policy is asked for one.
        lead: White space that the template writes between that and a reply.
        after_reply: What it writes behind the last reply.
        between_turns: What it writes between a reply and the human turn that follows; empty if it refuses that.

    Raises:
        ModelError: The template fails, or leaves out what the human or the assistant says.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        if "strftime_now" in str(tokenizer.chat_template):
            _warn_once(f"the chat template of {self._name} writes the day's date; another day's prompts differ in it")
        self._wants_parts = False
        asked_and_answered = self._choose_content()
        self._keeps_system = _SYSTEM[1] in (self._try([_SYSTEM, _USER, _REPLY]) or "")
        self.after_reply = asked_and_answered.rpartition(_REPLY[1])[2]
        further = self._try([_USER, _REPLY, _NEXT]) or ""
        self.between_turns = further.rpartition(_REPLY[1])[2].rpartition(_NEXT[1])[0]
        asked = self._try([_USER], generate=True) or ""
        self.before_reply = asked.rpartition(_USER[1])[2]
        self.lead = _white_space_after(asked, asked_and_answered)
        self.markup = Markup(tokenizer, self.after_reply + self.between_turns)

    def render(self, turns: Sequence[Turn], *, generate: bool) -> Rendering:
        """`turns` as the template writes them; with `generate`, ready for an assistant's answer.

        Content that spells a token of the markup is broken, see `allgood.scorers.markup`.

        Raises:
            ModelError: The template refuses the conversation, or fails on it.
        """
        messages = self._messages(turns)
        text = self._render(messages, generate=generate)
        return Rendering(text, self._num_changed(messages, text))

    def replies(self, turns: Sequence[Turn], text: str) -> list[Span | None]:
        """Where replies stand in `text`, that of `render(turns, generate=True)`; None for one that was changed."""
        messages = self._messages(turns)
        marked = self._render([_marked(message) for message in messages], generate=True)
        if re.sub(f"[{_OPENS}{_CLOSES}]", "", marked) != text:
            return [None for role, _ in messages if role == "assistant"]
        return _marked_spans(marked)

    def _messages(self, turns: Iterable[Turn]) -> list[Message]:
        """Neighbours with the same role become one message: many templates want strict alternation."""
        turns = tuple(turns)
        if not self._keeps_system and any(turn.role == "system" for turn in turns):
            _warn_once(
                f"the chat template of {self._name} has no system turns; their text is put before the first human turn"
            )
            turns = _system_in_human(turns)
        return [
            (ROLES_IN_MESSAGES[role], self.markup.broken("\n\n".join(turn.content for turn in group)))
            for role, group in groupby(turns, key=lambda turn: turn.role)
        ]

    def _render(self, messages: Sequence[Message], *, generate: bool) -> str:
        rows: list[dict[str, Any]] = [
            {"role": role, "content": [{"type": "text", "text": content}] if self._wants_parts else content}
            for role, content in messages
        ]
        try:
            return str(self._tokenizer.apply_chat_template(rows, tokenize=False, add_generation_prompt=generate))
        except Exception as error:  # a template is a program of somebody else: whatever goes wrong in it is its refusal
            roles = ", ".join(role for role, _ in messages)
            raise ModelError(
                f"the chat template of {self._name} refuses a conversation of {roles}: {error or type(error).__name__}"
            ) from error

    def _try(self, messages: Sequence[Message], *, generate: bool = False) -> str | None:
        try:
            return self._render(messages, generate=generate)
        except ModelError:
            return None

    def _choose_content(self) -> str:
        """Text, or a list of parts where text is left out; returns the rendering of a question and a reply."""
        refusal: ModelError | None = None
        for wants_parts in (False, True):
            self._wants_parts = wants_parts
            try:
                text = self._render([_USER, _REPLY], generate=False)
            except ModelError as error:
                refusal = refusal or error
                continue
            if _USER[1] in text and _REPLY[1] in text:
                return text
        raise refusal or ModelError(
            f"the chat template of {self._name} leaves out what the human or the assistant says, given as text and "
            "as a list of parts; give a tokenizer with a template for plain conversations"
        )

    def _num_changed(self, messages: Sequence[Message], text: str) -> int:
        rest, position, num_changed = _words(text), 0, 0
        for role, content in messages:
            said = _words(content)
            found = rest.find(said, position)
            if found < 0:
                num_changed += 1
                _warn_once(
                    f"the chat template of {self._name} changes what the {role} says, as reasoning templates do with "
                    "earlier replies; turns that it changes are counted"
                )
            else:
                position = found + len(said)
        return num_changed

    @property
    def _name(self) -> str:
        return repr(self._tokenizer.name_or_path)


def _system_in_human(turns: Sequence[Turn]) -> tuple[Turn, ...]:
    """The text of system turns in front of the first human turn, or in its place where there is none."""
    rules = "\n\n".join(turn.content for turn in turns if turn.role == "system" and turn.content)
    others = [turn for turn in turns if turn.role != "system"]
    if not rules:
        return tuple(others)
    first = next((index for index, turn in enumerate(others) if turn.role == "human"), None)
    if first is None:
        return (Turn("human", rules), *others)
    others[first] = replace(others[first], content=f"{rules}\n\n{others[first].content}")
    return tuple(others)


def _white_space_after(asked: str, answered: str) -> str:
    """What stands between the request for a reply and the reply, if that is white space only."""
    between = answered.removeprefix(asked).partition(_REPLY[1])[0] if answered.startswith(asked) else ""
    return "" if between.strip() else between


def _marked(message: Message) -> Message:
    role, content = message
    return (role, f"{_OPENS}{content}{_CLOSES}") if role == "assistant" else message


def _marked_spans(marked: str) -> list[Span | None]:
    spans: list[Span | None] = []
    start: int | None = None
    for num_marks, mark in enumerate(re.finditer(f"[{_OPENS}{_CLOSES}]", marked)):
        position = mark.start() - num_marks
        if mark[0] == _OPENS:
            start = position
        else:
            spans.append(None if start is None else (start, position))
            start = None
    return spans


def _words(text: str) -> str:
    return " ".join(text.split())


@cache
def _warn_once(message: str) -> None:
    logging.getLogger(__name__).warning(message)
