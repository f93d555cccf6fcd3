"""Token ids of texts, without special tokens: each text tokenised once, many in one call.

A text can be read at the start (`cache[text]`) or as what follows other text (`cache.continued(text)`). Byte-level
tokenizers give the same ids for both. SentencePiece-like ones put a space before whatever they are given, so what
continues is tokenised behind a short anchor, whose own ids are then taken off.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from transformers import PreTrainedTokenizerBase

ANCHORS = (":", ".", "a")
"""What stands before a text that continues; the second and third serve where a text merges with the first."""


class TokenCache:
    """Ids of texts; `fill` and `fill_continued` compute many at once. Lives as long as one call of an encoder.

    With `split_special_tokens` a text that spells a special token stays text.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        *,
        split_special_tokens: bool = False,
        anchors: Sequence[str] = ANCHORS,
    ) -> None:
        self._tokenizer = tokenizer
        self._split = split_special_tokens
        self._ids: dict[str, list[int]] = {}
        self._continued: dict[str, list[int]] = {}
        self._anchors = tuple(anchors) if self._inserts_spaces() else ()

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

    def fill_continued(self, texts: Iterable[str]) -> None:
        """Tokenise all of `texts` as what follows other text."""
        if not self._anchors:
            self.fill(texts)
            return
        unknown = [text for text in dict.fromkeys(texts) if text not in self._continued]
        for anchor in self._anchors:
            self.fill([anchor, *(anchor + text for text in unknown)])
            before = self._ids[anchor]
            left = []
            for text in unknown:
                ids = self._ids.pop(anchor + text)
                if ids[: len(before)] == before:
                    self._continued[text] = ids[len(before) :]
                else:
                    left.append(text)
            unknown = left
        self.fill(unknown)  # it merges with every anchor; with a space in front it is at least whole
        self._continued.update({text: self._ids[text] for text in unknown})

    def __getitem__(self, text: str) -> list[int]:
        self.fill([text])
        return self._ids[text]

    def continued(self, text: str) -> list[int]:
        """The ids of `text` behind other text."""
        self.fill_continued([text])
        return self._continued[text] if self._anchors else self._ids[text]

    def _inserts_spaces(self) -> bool:
        joined = self._tokenizer.decode([*self["a"], *self["b"]], clean_up_tokenization_spaces=False)
        return joined != "ab"


def special_tokens(tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], list[int]]:
    """What the tokenizer puts before and after a text: ([BOS], [CLS] or nothing; [SEP], [EOS] or nothing)."""
    bare = tokenizer("a", add_special_tokens=False)["input_ids"]
    full = tokenizer("a")["input_ids"]
    before = next(i for i in range(len(full)) if full[i : i + len(bare)] == bare)
    return full[:before], full[before + len(bare) :]
