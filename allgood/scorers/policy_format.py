"""How a policy reads a conversation: as plain hh text in segments, or through its tokenizer's chat template.

Both formats tokenise prompt and response separately, so that the boundary between them does not depend on the response.
See `allgood/scorers/encoding.py` for what they promise.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from transformers import PreTrainedTokenizerBase

from allgood.conversations import Turn, Turns, render, split_system
from allgood.scorers.chat import ChatTemplate, Rendering, Span
from allgood.scorers.cutting import cut_to_fit
from allgood.scorers.markup import MarkupTokens
from allgood.scorers.response_form import ResponseForm, chat_form, plain_form
from allgood.scorers.token_cache import TokenCache, special_tokens

ANSWER = (Turn("assistant", ""),)
"""The end of every prompt: the turn that the policy is to fill."""


@dataclass(frozen=True)
class PromptTokens:
    """A tokenised prompt.

    Attributes:
        tokens: Its ids.
        replies: Half-open token spans of its own assistant turns, with what ends them.
        num_lost_replies: Assistant turns that a template changed, so that they have no span.
        num_changed: Turns, of any role, that a template changed.
    """

    tokens: list[int]
    replies: tuple[Span, ...] = ()
    num_lost_replies: int = 0
    num_changed: int = 0


@runtime_checkable
class PolicyFormat(Protocol):
    """Tokens of prompts and responses."""

    @property
    def form(self) -> ResponseForm:
        """Where a response starts and ends."""
        ...

    def prepare(self, prompts: Iterable[Turns], responses: Iterable[str]) -> None:
        """Tokenise what will be asked for, in one batch."""

    def prompt(self, turns: Turns) -> PromptTokens:
        """A whole prompt."""

    def shorten(self, turns: Turns, room: int) -> PromptTokens | None:
        """A prompt of one human turn, behind system turns or not, its text cut from the left to fit.

        None if nothing of it remains.
        """

    def response(self, text: str) -> list[int]:
        """A response and what ends it."""


def policy_format(tokenizer: PreTrainedTokenizerBase) -> PolicyFormat:
    """The format that the tokenizer asks for.

    Raises:
        ModelError: Its chat template cannot be used; see `ChatTemplate` and `chat_form`.
    """
    return ChatFormat(tokenizer) if tokenizer.chat_template else PlainFormat(tokenizer)


def response_form(tokenizer: PreTrainedTokenizerBase) -> ResponseForm:
    """Where the responses of the policy with this tokenizer start and end."""
    return policy_format(tokenizer).form


class PlainFormat:
    """BOS if the tokenizer adds one; text up to each `Assistant:`; each reply, with its leading space, and EOS."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        # Text that spells a special token stays text: only EOS ends a turn.
        self._tokens = TokenCache(tokenizer, split_special_tokens=True)
        self._start, _ = special_tokens(tokenizer)
        self.form = plain_form(tokenizer)

    def prepare(self, prompts: Iterable[Turns], responses: Iterable[str]) -> None:
        """See `PolicyFormat.prepare`."""
        segments = [list(_segments(turns)) for turns in prompts]
        self._tokens.fill(context for (context, _), *_ in segments)
        self._tokens.fill_continued(text for _, *later in segments for segment in later for text in segment)
        self._tokens.fill_continued(reply for (_, reply), *_ in segments)
        self._tokens.fill_continued(_reply_text(response) for response in responses)

    def prompt(self, turns: Turns) -> PromptTokens:
        """See `PolicyFormat.prompt`."""
        tokens, replies = self._body(turns, first=True)
        shift = len(self._start)
        return PromptTokens([*self._start, *tokens], tuple((start + shift, end + shift) for start, end in replies))

    def shorten(self, turns: Turns, room: int) -> PromptTokens | None:
        """See `PolicyFormat.shorten`."""
        system, others = split_system(turns)
        start = [*self._start, *(self._tokens[render(system)] if system else [])]
        body, _ = self._body(others, first=not system)
        kept = room - len(start)
        return PromptTokens([*start, *body[-kept:]]) if kept >= len(self._tokens[render(ANSWER)]) else None

    def response(self, text: str) -> list[int]:
        """See `PolicyFormat.response`."""
        return [*self._tokens.continued(_reply_text(text)), *self.form.end]

    def _body(self, turns: Turns, *, first: bool) -> tuple[list[int], list[Span]]:
        """Tokens without BOS, and the spans of replies in them; `first` says that nothing stands before them."""
        tokens: list[int] = []
        replies: list[Span] = []
        *replied, (question, _) = _segments(turns)
        for context, reply in replied:
            tokens += self._context(context, first=first and not replies)
            start = len(tokens)
            tokens += [*self._tokens.continued(reply), *self.form.end]
            replies.append((start, len(tokens)))
        return tokens + self._context(question, first=first and not replies), replies

    def _context(self, text: str, *, first: bool) -> list[int]:
        return self._tokens[text] if first else self._tokens.continued(text)


class ChatFormat:
    """What the tokenizer's chat template writes, with its generation prompt; responses follow, and what ends them."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._template = ChatTemplate(tokenizer)
        self._tokens = MarkupTokens(tokenizer, self._template.markup, anchor=self._template.before_reply)
        self._renderings: dict[Turns, Rendering] = {}
        self.form = chat_form(tokenizer, self._template, self._tokens)

    def prepare(self, prompts: Iterable[Turns], responses: Iterable[str]) -> None:
        """See `PolicyFormat.prepare`."""
        self._tokens.fill(self._render(turns).text for turns in prompts)
        self._tokens.fill_continued(self._response_text(response) for response in responses)

    def prompt(self, turns: Turns) -> PromptTokens:
        """See `PolicyFormat.prompt`."""
        rendering = self._render(turns)
        tokens = self._tokens[rendering.text]
        spans = [span and self._in_tokens(span, rendering.text, tokens) for span in self._replies(turns)]
        found = tuple(span for span in spans if span is not None)
        return PromptTokens(tokens, found, len(spans) - len(found), rendering.num_changed)

    def shorten(self, turns: Turns, room: int) -> PromptTokens | None:
        """See `PolicyFormat.shorten`."""
        shorter = cut_to_fit(
            self._tokenizer, self._tokens, turns, room, lambda left: len(self._tokens[self._render(left).text])
        )
        return None if shorter is None else self.prompt(shorter)

    def response(self, text: str) -> list[int]:
        """See `PolicyFormat.response`."""
        return [*self._tokens.continued(self._response_text(text)), *self.form.end]

    def _response_text(self, text: str) -> str:
        return self.form.lead + self._template.markup.broken(text)

    def _render(self, turns: Turns) -> Rendering:
        if turns not in self._renderings:
            self._renderings[turns] = self._template.render(turns[:-1], generate=True)
        return self._renderings[turns]

    def _replies(self, turns: Turns) -> list[Span | None]:
        replied = any(turn.role == "assistant" for turn in turns[:-1])
        return self._template.replies(turns[:-1], self._render(turns).text) if replied else []

    def _in_tokens(self, span: Span, text: str, tokens: list[int]) -> Span | None:
        """The tokens of a reply, with what leads and ends it; None where tokens lie across its bounds."""
        before, upto = text[: span[0]].removesuffix(self.form.lead), text[: span[1]]
        start, end = self._tokens[before], self._tokens[upto]
        if tokens[: len(start)] != start or tokens[: len(end)] != end:
            return None
        ended = [*end, *self.form.end]
        return len(start), len(ended if tokens[: len(ended)] == ended else end)


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
