"""A chat conversation whose first turn behind the system's is too long loses text on its left, never a reply."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from transformers import PreTrainedTokenizerBase

from allgood.conversations import Turns, split_system
from allgood.scorers.markup import MarkupTokens


def cut_to_fit(
    tokenizer: PreTrainedTokenizerBase,
    tokens: MarkupTokens,
    turns: Turns,
    room: int,
    num_tokens: Callable[[Turns], int],
) -> Turns | None:
    """`turns` with as much of the first turn behind the system's as `room` tokens hold; None if nothing of it fits."""
    system, (first, *others) = split_system(turns)
    content = tokens.text(first.content)
    kept = len(content)
    while kept > 0:
        text = str(tokenizer.decode(content[-kept:], skip_special_tokens=False)).lstrip()
        shorter = (*system, replace(first, content=text), *others)
        excess = num_tokens(shorter) - room
        if excess <= 0:
            return shorter
        kept -= excess
    return None
