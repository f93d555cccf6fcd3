"""Token ids of texts, without special tokens: each text tokenised once, many in one call."""

from __future__ import annotations

from collections.abc import Iterable

from transformers import PreTrainedTokenizerBase


class TokenCache:
    """`cache[text]` are the ids of `text`; `fill` computes many at once. Lives as long as one call of an encoder."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, *, split_special_tokens: bool = False) -> None:
        self._tokenizer = tokenizer
        self._split = split_special_tokens
        self._ids: dict[str, list[int]] = {}

    def fill(self, texts: Iterable[str]) -> None:
        """Tokenise all of `texts` that are not known yet."""
        unknown = [text for text in dict.fromkeys(texts) if text not in self._ids]
        if not unknown:
            return
        encoded = self._tokenizer(
            unknown,
            add_special_tokens=False,
            split_special_tokens=self._split,
            return_attention_mask=False,
            verbose=False,  # texts longer than the model's context are expected: the caller cuts them
        )
        self._ids.update(zip(unknown, encoded["input_ids"], strict=True))

    def __getitem__(self, text: str) -> list[int]:
        self.fill([text])
        return self._ids[text]


def special_tokens(tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], list[int]]:
    """What the tokenizer puts before and after a text: ([BOS], [CLS] or nothing; [SEP], [EOS] or nothing)."""
    bare = tokenizer("a", add_special_tokens=False)["input_ids"]
    full = tokenizer("a")["input_ids"]
    before = next(i for i in range(len(full)) if full[i : i + len(bare)] == bare)
    return full[:before], full[before + len(bare) :]
