"""How a reward model or classifier reads a conversation: through its own chat template, or as plain hh text.

See `allgood/scorers/encoding.py` for what the formats promise. Plain text is tokenised as a whole, as by anybody who
calls the tokenizer on `prompt + " " + response`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol, runtime_checkable

from transformers import PreTrainedTokenizerBase

from allgood.conversations import Turn, Turns, join, render, split_system
from allgood.scorers.chat import ChatTemplate, Rendering
from allgood.scorers.cutting import cut_to_fit
from allgood.scorers.markup import MarkupTokens
from allgood.scorers.model_scorer import Encoding
from allgood.scorers.policy_format import ANSWER
from allgood.scorers.token_cache import TokenCache, special_tokens

Conversation = tuple[Turns, str]
"""The turns of a prompt, and the response."""


@runtime_checkable
class ScorerFormat(Protocol):
    """Tokens of whole conversations."""

    def conversations(self, examples: Sequence[Conversation]) -> list[Encoding]:
        """Whole conversations, tokenised in one batch."""

    def shorten(self, turns: Turns, response: str, room: int) -> Encoding | None:
        """A conversation of one human turn, behind system turns or not, its text cut from the left to fit.

        None if the response alone does not fit.
        """


def scorer_format(tokenizer: PreTrainedTokenizerBase) -> ScorerFormat:
    """The format that the tokenizer asks for."""
    return ChatScorerFormat(tokenizer) if tokenizer.chat_template else PlainScorerFormat(tokenizer)


class PlainScorerFormat:
    """hh text between the tokenizer's own special tokens; EOS at the end where the tokenizer puts nothing there."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokens = TokenCache(tokenizer, split_special_tokens=True)
        self._start, self._end = special_tokens(tokenizer)
        if not self._end and tokenizer.eos_token_id is not None:
            self._end = [tokenizer.eos_token_id]

    def conversations(self, examples: Sequence[Conversation]) -> list[Encoding]:
        """See `ScorerFormat.conversations`."""
        texts = [join(render(turns), response) for turns, response in examples]
        self._tokens.fill(texts)
        return [Encoding([*self._start, *self._tokens[text], *self._end], cut=False) for text in texts]

    def shorten(self, turns: Turns, response: str, room: int) -> Encoding | None:
        """See `ScorerFormat.shorten`."""
        system, others = split_system(turns)
        start = [*self._start, *(self._tokens[render(system)] if system else [])]
        kept = room - len(start) - len(self._end)
        if kept < len(self._tokens[join(render(ANSWER), response)]):
            return None
        text = join(render(others), response)
        body = self._tokens.continued(text) if system else self._tokens[text]
        return Encoding([*start, *body[-kept:], *self._end], cut=True)


class ChatScorerFormat:
    """What the scorer's chat template writes, special tokens included."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._template = ChatTemplate(tokenizer)
        self._tokens = MarkupTokens(tokenizer, self._template.markup)

    def conversations(self, examples: Sequence[Conversation]) -> list[Encoding]:
        """See `ScorerFormat.conversations`."""
        renderings = [self._render(turns, response) for turns, response in examples]
        self._tokens.fill(rendering.text for rendering in renderings)
        return [Encoding(self._tokens[found.text], cut=False, num_changed=found.num_changed) for found in renderings]

    def shorten(self, turns: Turns, response: str, room: int) -> Encoding | None:
        """See `ScorerFormat.shorten`."""
        shorter = cut_to_fit(
            self._tokenizer,
            self._tokens,
            turns,
            room,
            lambda left: len(self._tokens[self._render(left, response).text]),
        )
        return None if shorter is None else replace(self.conversations([(shorter, response)])[0], cut=True)

    def _render(self, turns: Turns, response: str) -> Rendering:
        return self._template.render((*turns[:-1], Turn("assistant", response)), generate=False)
