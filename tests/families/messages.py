"""Conversations as a chat template wants them, written without the product's own code."""

from __future__ import annotations

from allgood.conversations import parse

ROLES = {"system": "system", "human": "user", "assistant": "assistant"}


def messages_of(prompt: str, *, merge_system: bool = False) -> list[dict[str, str]]:
    """The turns of a prompt, without the empty one that is to be filled.

    With `merge_system` what the system says stands in front of the first question.
    """
    messages = [{"role": ROLES[turn.role], "content": turn.content} for turn in parse(prompt)[:-1]]
    if not merge_system or messages[0]["role"] != "system":
        return messages
    system, question, *others = messages
    return [question | {"content": f"{system['content']}\n\n{question['content']}"}, *others]
