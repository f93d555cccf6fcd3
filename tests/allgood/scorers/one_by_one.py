"""A single text through the functions of `allgood.scorers.encoding`, which take many."""

from __future__ import annotations

from transformers import PreTrainedTokenizerBase

from allgood.scorers.encoding import Encoded, Encoding, encode_all_for_scoring, encode_examples, encode_prompts


def encode_prompt(tokenizer: PreTrainedTokenizerBase, prompt: str, *, max_tokens: int) -> Encoded:
    return encode_prompts(tokenizer, [prompt], max_tokens=max_tokens)[0]


def encode_example(
    tokenizer: PreTrainedTokenizerBase, prompt: str, response: str, *, max_tokens: int
) -> Encoded | None:
    return encode_examples(tokenizer, [(prompt, response)], max_tokens=max_tokens)[0]


def encode_for_scoring(
    tokenizer: PreTrainedTokenizerBase, prompt: str, response: str, *, max_tokens: int
) -> Encoding | None:
    return encode_all_for_scoring(tokenizer, [(prompt, response)], max_tokens=max_tokens)[0]
