"""Only a template's own markup becomes special tokens: text that spells one stays text.

Content that spells a special token is *broken* before it enters a template: a character that is no text stands behind
the first character of what it spells. So whatever spells a special token in the rendering is the template's own, and
becomes that token; what lies between is tokenised as text, without the extra character. Renderings without it, nearly
all there are, are tokenised as a whole, as by anybody who calls the tokenizer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from tokenizers import AddedToken
from transformers import PreTrainedTokenizerBase

from allgood.scorers.token_cache import ANCHORS, TokenCache

BREAK = "\ufdd0"
"""Stands inside what must stay text. Unicode promises that this code point is never a character."""


class Markup:
    """The tokens that content must not become: special ones, and what else the template writes between turns.

    Args:
        tokenizer: Knows the special tokens.
        between_turns: What the template writes between turns; tokens in it may be no special ones to the tokenizer.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, between_turns: str) -> None:
        added: list[tuple[int, AddedToken]] = [
            (index, token)
            for index, token in tokenizer.added_tokens_decoder.items()
            if token.content.strip() and (token.special or token.content in between_turns)
        ]
        self.tokens = {token.content: index for index, token in added}
        self.forms = {token.content: token for _, token in added}
        self._pattern = _any_of(self.tokens)

    def broken(self, content: str) -> str:
        """Content in which nothing spells a token of the markup any more."""
        # A token of one character cannot be broken; the break in front of it marks it.
        return self._pattern.sub(lambda found: found[0][:1] + BREAK + found[0][1:], content) if content else content

    def split(self, rendering: str) -> list[tuple[str, str]]:
        """(text, the token of the markup behind it) one after the other; the last token is empty."""
        pieces = []
        start = 0
        for found in self._pattern.finditer(rendering):
            pieces.append((rendering[start : found.start()], found[0]))
            start = found.end()
        return [*pieces, (rendering[start:], "")]


class MarkupTokens:
    """Ids of renderings of a template, in which content is broken; and of contents alone."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, markup: Markup, *, anchor: str = "") -> None:
        self._markup = markup
        self._whole = TokenCache(tokenizer, anchors=(anchor, *ANCHORS) if anchor else ANCHORS)
        self._text = TokenCache(tokenizer, split_special_tokens=True)

    def fill(self, renderings: Iterable[str]) -> None:
        """Tokenise all that are not known yet, in one batch."""
        self._whole.fill(text for text in renderings if BREAK not in text)

    def __getitem__(self, rendering: str) -> list[int]:
        return self._in_pieces(rendering) if BREAK in rendering else self._whole[rendering]

    def fill_continued(self, contents: Iterable[str]) -> None:
        """Tokenise contents as what follows a rendering, in one batch."""
        self._whole.fill_continued(text for text in contents if BREAK not in text)

    def continued(self, content: str) -> list[int]:
        """The ids of content behind a rendering."""
        return self._as_text(content, continues=True) if BREAK in content else self._whole.continued(content)

    def text(self, content: str) -> list[int]:
        """The ids of content alone, in which nothing becomes a special token."""
        return self._text[content]

    def _in_pieces(self, rendering: str) -> list[int]:
        ids: list[int] = []
        strip_left, before = False, ""
        for text, token in self._markup.split(rendering):
            # Some tokens swallow the space around them.
            text = text.lstrip() if strip_left else text
            text = text.rstrip() if token and self._markup.forms[token].lstrip else text
            ids += self._as_text(text, continues=bool(before) and not self._opens_text(before))
            if token:
                ids.append(self._markup.tokens[token])
                strip_left = self._markup.forms[token].rstrip
            before = token
        return ids

    def _opens_text(self, token: str) -> bool:
        """Whether the tokenizer reads text behind this token as it reads text at the start."""
        return self._whole[f"{token}a"] == [self._markup.tokens[token], *self._whole["a"]]

    def _as_text(self, text: str, *, continues: bool) -> list[int]:
        """Ids of text without markup: whole where that makes no token of the markup, else piece by piece."""
        whole = text.replace(BREAK, "")
        ids = self._text.continued(whole) if continues else self._text[whole]
        if not set(ids) & set(self._markup.tokens.values()):
            return ids
        first, *more = text.split(BREAK)
        pieces = [self._text.continued(first) if continues else self._text[first]]
        return [token for piece in [*pieces, *map(self._text.continued, more)] for token in piece]


def _any_of(tokens: Iterable[str]) -> re.Pattern[str]:
    longest_first = sorted(tokens, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first)) or "(?!)")
