"""How a reward model or classifier reads a conversation: through its own chat template, or as plain hh text.

See `allgood/scorers/encoding.py` for what the formats promise. Plain text is tokenised as a whole, as by anybody who
calls the tokenizer on `prompt + " " + response`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from transformers import PreTrainedTokenizerBase

from allgood.conversations import Turn, join, render
from allgood.scorers.chat import chat_text
from allgood.scorers.policy_format import ANSWER, Turns
from allgood.scorers.token_cache import TokenCache, special_tokens

Conversation = tuple[Turns, str]
"""The turns of a prompt, and the response."""


@runtime_checkable
class ScorerFormat(Protocol):
    """Tokens of whole conversations."""

    def conversations(self, examples: Sequence[Conversation]) -> list[list[int]]:
        """Whole conversations, tokenised in one batch."""

    def shorten(self, turns: Turns, response: str, room: int) -> list[int] | None:
        """A conversation of one human turn, its text cut from the left to fit; None if the response alone does not."""


def scorer_format(tokenizer: PreTrainedTokenizerBase) -> ScorerFormat:
    """The format that the tokenizer asks for."""
    return ChatScorerFormat(tokenizer) if tokenizer.chat_template else PlainScorerFormat(tokenizer)


class PlainScorerFormat:
    """hh text between the tokenizer's own special tokens; EOS at the end where the tokenizer puts nothing there."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokens = TokenCache(tokenizer)
        self._start, self._end = special_tokens(tokenizer)
        if not self._end and tokenizer.eos_token_id is not None:
            self._end = [tokenizer.eos_token_id]

    def conversations(self, examples: Sequence[Conversation]) -> list[list[int]]:
        """See `ScorerFormat.conversations`."""
        texts = [join(render(turns), response) for turns, response in examples]
        self._tokens.fill(texts)
        return [[*self._start, *self._tokens[text], *self._end] for text in texts]

    def shorten(self, turns: Turns, response: str, room: int) -> list[int] | None:
        """See `ScorerFormat.shorten`."""
        kept = room - len(self._start) - len(self._end)
        if kept < len(self._tokens[join(render(ANSWER), response)]):
            return None
        return [*self._start, *self._tokens[join(render(turns), response)][-kept:], *self._end]


class ChatScorerFormat:
    """What the scorer's chat template writes, special tokens included."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._tokens = TokenCache(tokenizer)

    def conversations(self, examples: Sequence[Conversation]) -> list[list[int]]:
        """See `ScorerFormat.conversations`."""
        texts = [self._text(turns, response) for turns, response in examples]
        self._tokens.fill(texts)
        return [self._tokens[text] for text in texts]

    def shorten(self, turns: Turns, response: str, room: int) -> list[int] | None:
        """See `ScorerFormat.shorten`."""
        first, *rest = turns
        content = self._tokens[first.content]
        kept = len(content)
        while kept > 0:
            text = str(self._tokenizer.decode(content[-kept:], skip_special_tokens=False)).strip()
            tokens = self._tokens[self._text((Turn(first.role, text), *rest), response)]
            if len(tokens) <= room:
                return tokens
            kept -= len(tokens) - room
        return None

    def _text(self, turns: Turns, response: str) -> str:
        return chat_text(self._tokenizer, (*turns[:-1], Turn("assistant", response)), generate=False)
