"""Conversations as a chat template wants them, written without the product's own code."""

from __future__ import annotations

from allgood.conversations import parse

_ROLES = {"system": "system", "human": "user", "assistant": "assistant"}


def messages_of(prompt: str) -> list[dict[str, str]]:
    """The turns of a prompt, without the empty one that is to be filled."""
    return [{"role": _ROLES[turn.role], "content": turn.content} for turn in parse(prompt)[:-1]]
