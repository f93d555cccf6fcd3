"""How a policy reads a conversation: as plain hh text in segments, or through its tokenizer's chat template.

Both formats tokenise prompt and response separately, so that the boundary between them does not depend on the response.
See `allgood/scorers/encoding.py` for what they promise.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from transformers import PreTrainedTokenizerBase

from allgood.conversations import Turn, render
from allgood.scorers.chat import chat_text
from allgood.scorers.token_cache import TokenCache, special_tokens

Turns = tuple[Turn, ...]
Span = tuple[int, int]

ANSWER = (Turn("assistant", ""),)
"""The end of every prompt: the turn that the policy is to fill."""


@dataclass(frozen=True)
class PromptTokens:
    """A tokenised prompt; `replies` are the half-open token spans of its own assistant turns, EOS included."""

    tokens: list[int]
    replies: tuple[Span, ...] = ()


@runtime_checkable
class PolicyFormat(Protocol):
    """Tokens of prompts and responses."""

    def prepare(self, prompts: Iterable[Turns], responses: Iterable[str]) -> None:
        """Tokenise what will be asked for, in one batch."""

    def prompt(self, turns: Turns) -> PromptTokens:
        """A whole prompt."""

    def shorten(self, turns: Turns, room: int) -> PromptTokens | None:
        """A prompt of one human turn, its text cut from the left to fit; None if nothing of it remains."""

    def response(self, text: str) -> list[int]:
        """A response and EOS."""


def policy_format(tokenizer: PreTrainedTokenizerBase) -> PolicyFormat:
    """The format that the tokenizer asks for."""
    return ChatFormat(tokenizer) if tokenizer.chat_template else PlainFormat(tokenizer)


class PlainFormat:
    """BOS if the tokenizer adds one; text up to each `Assistant:`; each reply, with its leading space, and EOS."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        # Text that spells a special token stays text: only EOS ends a turn.
        self._tokens = TokenCache(tokenizer, split_special_tokens=True)
        self._start, _ = special_tokens(tokenizer)
        self._eos = tokenizer.eos_token_id

    def prepare(self, prompts: Iterable[Turns], responses: Iterable[str]) -> None:
        """See `PolicyFormat.prepare`."""
        self._tokens.fill(text for turns in prompts for segment in _segments(turns) for text in segment)
        self._tokens.fill(_reply_text(response) for response in responses)

    def prompt(self, turns: Turns) -> PromptTokens:
        """See `PolicyFormat.prompt`."""
        *replied, (question, _) = _segments(turns)
        tokens = list(self._start)
        replies = []
        for context, reply in replied:
            tokens += self._tokens[context]
            start = len(tokens)
            tokens += [*self._tokens[reply], self._eos]
            replies.append((start, len(tokens)))
        return PromptTokens(tokens + self._tokens[question], tuple(replies))

    def shorten(self, turns: Turns, room: int) -> PromptTokens | None:
        """See `PolicyFormat.shorten`."""
        start, body = self._start, self.prompt(turns).tokens[len(self._start) :]
        kept = room - len(start)
        return PromptTokens([*start, *body[-kept:]]) if kept >= len(self._tokens[render(ANSWER)]) else None

    def response(self, text: str) -> list[int]:
        """See `PolicyFormat.response`."""
        return [*self._tokens[_reply_text(text)], self._eos]


class ChatFormat:
    """What the tokenizer's chat template writes, with its generation prompt; responses follow bare, with EOS."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._tokens = TokenCache(tokenizer)

    def prepare(self, prompts: Iterable[Turns], responses: Iterable[str]) -> None:
        """See `PolicyFormat.prepare`."""
        self._tokens.fill(self._text(turns) for turns in prompts)
        self._tokens.fill(responses)

    def prompt(self, turns: Turns) -> PromptTokens:
        """See `PolicyFormat.prompt`. Earlier turns that the template rewrites (dropping reasoning) have no spans."""
        tokens = self._tokens[self._text(turns)]
        replies = [
            self._span(turns, index, tokens) for index, turn in enumerate(turns[:-1]) if turn.role == "assistant"
        ]
        return PromptTokens(tokens, tuple(span for span in replies if span is not None))

    def shorten(self, turns: Turns, room: int) -> PromptTokens | None:
        """See `PolicyFormat.shorten`."""
        first, *rest = turns
        content = self._tokens[first.content]
        kept = len(content)
        while kept > 0:
            text = str(self._tokenizer.decode(content[-kept:], skip_special_tokens=False)).strip()
            shorter = self.prompt((Turn(first.role, text), *rest))
            if len(shorter.tokens) <= room:
                return shorter
            kept -= len(shorter.tokens) - room
        return None

    def response(self, text: str) -> list[int]:
        """See `PolicyFormat.response`."""
        return [*self._tokens[text], self._tokenizer.eos_token_id]

    def _text(self, turns: Turns) -> str:
        return chat_text(self._tokenizer, turns[:-1], generate=True)

    def _span(self, turns: Turns, index: int, tokens: list[int]) -> Span | None:
        """Where turn `index` stands in `tokens`: after the tokens that ask for it, up to the EOS that ends it."""
        start = len(self._tokens[chat_text(self._tokenizer, turns[:index], generate=True)])
        after = self._tokens[chat_text(self._tokenizer, turns[: index + 1], generate=False)]
        if tokens[: len(after)] != after or start >= len(after):
            return None
        eos = self._tokenizer.eos_token_id
        return start, next((i + 1 for i in range(start, len(after)) if after[i] == eos), len(after))


def _segments(turns: Turns) -> Iterator[tuple[str, str]]:
    """(text up to and including an `Assistant:` label, the reply after it with its space) per assistant turn."""
    context: list[Turn] = []
    for turn in turns:
        if turn.role == "assistant":
            yield render((*context, *ANSWER)), _reply_text(turn.content)
            context = []
        else:
            context.append(turn)


def _reply_text(text: str) -> str:
    return f" {text}" if text else ""
