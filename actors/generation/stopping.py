"""Where a response ends: end tokens and stop strings, and its text without them.

A stop string may span tokens in many ways, so it is looked for in the decoded response. Decoding at every token would
cost more than a small model's forward pass; only a token whose text can complete a stop string triggers it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from transformers import GenerationConfig, PreTrainedTokenizerBase

from actors.messages import FinishReason, TokenRow
from allgood.scorers.policy_format import response_form


def end_tokens(generation: GenerationConfig | None, tokenizer: PreTrainedTokenizerBase) -> NDArray[np.int32]:
    """Token ids that end a response: what ends a turn, the tokenizer's EOS, and those of the generation config."""
    ids = {tokenizer.eos_token_id}
    ends_turn = response_form(tokenizer).end_token
    if ends_turn is not None:
        ids.add(ends_turn)
    configured = None if generation is None else generation.eos_token_id
    if configured is not None:
        ids.update([configured] if isinstance(configured, int) else configured)
    return np.array(sorted(ids), dtype=np.int32)


class StopStrings:
    """Finds stop strings in responses as they grow."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, stop: Sequence[str]) -> None:
        self._tokenizer = tokenizer
        self._stop = tuple(stop)
        pieces = tokenizer.batch_decode([[token] for token in range(len(tokenizer))]) if stop else []
        self._completing = np.array([_can_complete(piece, self._stop) for piece in pieces], dtype=bool)

    def may_complete(self, tokens: TokenRow) -> NDArray[np.bool_]:
        """Which tokens can be the last of a stop string, [rows]. Ids that the tokenizer does not have never are."""
        result = np.zeros(len(tokens), dtype=bool)
        known = tokens < len(self._completing)
        result[known] = self._completing[tokens[known]]
        return result

    def found(self, tokens: TokenRow) -> bool:
        """Whether the decoded tokens contain a stop string."""
        text = self._tokenizer.decode(tokens, skip_special_tokens=True)
        return any(stop in text for stop in self._stop)


def response_texts(
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[TokenRow],
    finish_reasons: Sequence[FinishReason],
    stop: Sequence[str],
) -> tuple[str, ...]:
    """What the rows of tokens spell, without what ended them: cut at the first stop string, no special tokens.

    With a chat template the rest is kept as generated; plain text is stripped.
    """
    form = response_form(tokenizer)
    contents = [
        row[:-1].tolist() if reason == "eos" else row.tolist() for row, reason in zip(rows, finish_reasons, strict=True)
    ]
    return tuple(form.text(_cut(text, stop)) for text in tokenizer.batch_decode(contents, skip_special_tokens=True))


def _cut(text: str, stop: Sequence[str]) -> str:
    return text[: min((text.find(string) for string in stop if string in text), default=len(text))]


def _can_complete(piece: str, stop: tuple[str, ...]) -> bool:
    """Whether a token with this text can complete one of the stop strings, whatever stands before it."""
    return any(
        text in piece
        or any(piece.startswith(text[i:]) for i in range(len(text)))
        # part of a character: its text is known only together with its neighbours
        or (not text.isascii() and "\N{REPLACEMENT CHARACTER}" in piece)
        for text in stop
    )
