"""Conversations as a chat template wants them: lists of messages with the roles system, user and assistant."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from allgood.conversations import Turn
from allgood.errors import ModelError

_ROLES = {"system": "system", "human": "user", "assistant": "assistant"}


def chat_text(tokenizer: PreTrainedTokenizerBase, turns: Iterable[Turn], *, generate: bool) -> str:
    """`turns` as the tokenizer's chat template writes them; with `generate`, ready for an assistant's answer.

    Raises:
        ModelError: The template refuses the conversation.
    """
    messages = chat_messages(turns)
    try:
        return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=generate))
    except TemplateError as error:
        roles = ", ".join(message["role"] for message in messages)
        raise ModelError(
            f"the chat template of {tokenizer.name_or_path!r} refuses a conversation of {roles}: {error}"
        ) from error


def chat_messages(turns: Iterable[Turn]) -> list[dict[str, str]]:
    """Turns as messages. Neighbours with the same role become one message: many templates want strict alternation."""
    return [
        {"role": _ROLES[role], "content": "\n\n".join(turn.content for turn in group)}
        for role, group in groupby(turns, key=lambda turn: turn.role)
    ]
