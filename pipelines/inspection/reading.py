"""A conversation as a model reads it, token by token: what is markup, where the response starts, what was cut."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from allgood.scorers.encoding import Encoded, Example, encode_all_for_scoring, encode_examples, encode_prompts
from allgood.scorers.model_scorer import Encoding

_UNLIMITED = 1_000_000_000
_PARTIAL = "\N{REPLACEMENT CHARACTER}"


@dataclass(frozen=True)
class Token:
    """One token. `text` is what it adds to the text, or its spelling in the vocabulary where it is part of a character.

    `is_markup` says that it stands for no text: a special or added token.
    """

    id: int
    text: str
    is_markup: bool


@dataclass(frozen=True)
class Reading:
    """What a model reads of one conversation.

    Attributes:
        tokens: All of it.
        response_start: Index of the response's first token; the number of tokens where the model is to write it. None
            where nothing fits: the conversation has no reward, or is not trained on.
        num_cut: Tokens that were cut from the prompt.
        cut_text: What they spell, where they stood in one piece.
    """

    tokens: tuple[Token, ...]
    response_start: int | None
    num_cut: int = 0
    cut_text: str = ""


@dataclass(frozen=True)
class Cuts:
    """How many of `num_rows` rows lose something of their prompt, and how many do not fit because of their response."""

    num_rows: int
    num_cut: int
    num_dropped: int


NOTHING = Reading((), None)
"""A response that does not fit."""


@dataclass(frozen=True)
class Reader:
    """A model by name: `read` gives one (prompt, response) token by token; `encode` many at once, as the run does."""

    name: str
    read: Callable[[str, str], Reading]
    encode: Callable[[Sequence[Example]], Sequence[Encoded | Encoding | None]]


def generating_reader(name: str, tokenizer: PreTrainedTokenizerBase, *, max_tokens: int) -> Reader:
    """A policy that is to answer: it reads prompts only, up to where it goes on."""

    def encode(examples: Sequence[Example], limit: int = max_tokens) -> list[Encoded]:
        return encode_prompts(tokenizer, [prompt for prompt, _ in examples], max_tokens=limit)

    def read(prompt: str, response: str) -> Reading:
        ((short,), (whole,)) = (encode([(prompt, response)], limit) for limit in (max_tokens, _UNLIMITED))
        return _reading(tokenizer, short.tokens, whole.tokens, short.num_prompt_tokens)

    return Reader(name, read, encode)


def learning_reader(name: str, tokenizer: PreTrainedTokenizerBase, *, max_tokens: int) -> Reader:
    """A policy that learns from responses."""

    def encode(examples: Sequence[Example], limit: int = max_tokens) -> list[Encoded | None]:
        return encode_examples(tokenizer, examples, max_tokens=limit)

    def read(prompt: str, response: str) -> Reading:
        ((short,), (whole,)) = (encode([(prompt, response)], limit) for limit in (max_tokens, _UNLIMITED))
        if short is None or whole is None:
            return NOTHING
        return _reading(tokenizer, short.tokens, whole.tokens, short.num_prompt_tokens)

    return Reader(name, read, encode)


def scoring_reader(name: str, tokenizer: PreTrainedTokenizerBase, *, max_tokens: int) -> Reader:
    """A reward model or classifier."""

    def encode(examples: Sequence[Example], limit: int = max_tokens) -> list[Encoding | None]:
        return encode_all_for_scoring(tokenizer, examples, max_tokens=limit)

    def read(prompt: str, response: str) -> Reading:
        # Another response leaves the tokens before it as they are: the first difference is where the response starts.
        other = "0" if not response.startswith("0") else "1"
        (short,) = encode([(prompt, response)])
        whole, elsewhere = encode([(prompt, response), (prompt, other)], _UNLIMITED)
        if short is None or whole is None or elsewhere is None:
            return NOTHING
        num_behind = len(whole.tokens) - _num_equal(whole.tokens, elsewhere.tokens)
        return _reading(tokenizer, short.tokens, whole.tokens, len(short.tokens) - num_behind)

    return Reader(name, read, encode)


def count_cuts(reader: Reader, examples: Sequence[Example]) -> Cuts:
    """How many of some rows lose something."""
    encoded = reader.encode(examples)
    kept = [row for row in encoded if row is not None]
    return Cuts(len(encoded), num_cut=sum(row.cut for row in kept), num_dropped=len(encoded) - len(kept))


def spelled(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> tuple[Token, ...]:
    """Tokens with what each adds to the text behind its neighbour: some tokenizers hide a space at the beginning."""
    markup = {*tokenizer.all_special_ids, *tokenizer.added_tokens_decoder}
    tokens = []
    for index, token in enumerate(ids):
        before = [*ids[max(index - 1, 0) : index]]
        context, both = _decoded(tokenizer, before), _decoded(tokenizer, [*before, token])
        text = both.removeprefix(context) if both.startswith(context) else _decoded(tokenizer, [token])
        if not text or _PARTIAL in text:
            text = str(tokenizer.convert_ids_to_tokens(token))
        tokens.append(Token(token, text, token in markup))
    return tuple(tokens)


def _reading(
    tokenizer: PreTrainedTokenizerBase, short: Sequence[int], whole: Sequence[int], response_start: int
) -> Reading:
    num_cut = len(whole) - len(short)
    kept_before = _num_equal(short, whole)  # BOS, or a system turn
    lost = whole[kept_before : kept_before + num_cut]
    in_one_piece = [*whole[:kept_before], *whole[kept_before + num_cut :]] == list(short)
    cut_text = _decoded(tokenizer, lost) if num_cut and in_one_piece else ""
    return Reading(spelled(tokenizer, short), response_start, num_cut, cut_text)


def _num_equal(one: Sequence[int], other: Sequence[int]) -> int:
    """How many ids are the same from the beginning."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((index for index, (a, b) in pairs if a != b), min(len(one), len(other)))


def _decoded(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> str:
    return str(tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False))
