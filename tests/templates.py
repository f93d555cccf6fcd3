"""Chat templates of the kinds used in the field, and tiny tokenizers for them: no download, trained in the test.

The templates are written for these tests; each does what a family of published ones does.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

VOCABULARY = 400  # tokens
TEXTS = (
    "\n\nHuman: How do I bake bread?\n\nAssistant: Mix flour, water and yeast, then bake it.",
    "\n\nHuman: Name a river.\n\nAssistant: The Danube is a long river in Europe.",
    "\n\nHuman: What is the capital of France?\n\nAssistant: Paris.",
    "\n\nSystem: Be brief.\n\nHuman: What is tea?\n\nAssistant: A drink.\n\nHuman: And mate?\n\nAssistant: Also one.",
)

CHATML = (
    "{% if messages[0].role != 'system' %}<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
HEADERS = (
    "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n"
    "{{ m.content | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
ALTERNATING = (
    "{{ bos_token }}{% for m in messages %}"
    "{% if m.role == 'system' %}{{ raise_exception('this template knows no system role') }}{% endif %}"
    "{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}{% endif %}"
    "{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]{% else %} {{ m.content }}{{ eos_token }}{% endif %}"
    "{% endfor %}"
)
REASONING = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% set answer = m.content.split('</think>')[-1].lstrip('\n') %}"
    "{% if m.role != 'assistant' %}{{ m.content }}{% elif not loop.last %}{{ answer }}"
    "{% elif '</think>' in m.content %}{{ m.content }}{% else %}<think>\n\n</think>\n\n{{ answer }}{% endif %}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
PARTS = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% for part in m.content %}{% if part.type == 'text' %}{{ part.text }}{% endif %}{% endfor %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
NO_SYSTEM = (
    "{% for m in messages if m.role != 'system' %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@dataclass(frozen=True)
class Kind:
    """A template, the special tokens that it writes besides BOS and EOS, and what ends an assistant's turn."""

    template: str | None
    special: tuple[str, ...] = ()
    end: str = "<eos>"
    added: tuple[str, ...] = ()  # in the vocabulary as one token, but not special


Prepend = Literal["always", "first", "normalizer"]
_IM = ("<|im_start|>", "<|im_end|>")
KINDS = {
    "chatml": Kind(CHATML, _IM, "<|im_end|>"),  # with a default system text; EOS is another token
    "headers": Kind(HEADERS, ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"), "<|eot_id|>"),  # writes BOS
    "alternating": Kind(ALTERNATING),  # refuses system turns, demands alternation, writes BOS
    "reasoning": Kind(REASONING, _IM, "<|im_end|>", ("<think>", "</think>")),  # of earlier turns it is removed
    "parts": Kind(PARTS, _IM, "<|im_end|>"),  # wants a list of content parts
    "no_system": Kind(NO_SYSTEM, _IM, "<|im_end|>"),  # drops system turns
    "none": Kind(None),
}


def template_tokenizer(kind: str) -> PreTrainedTokenizerFast:
    """A byte-level tokenizer (<pad> 0, <bos> 1, <eos> 2) with the template and the special tokens of that kind."""
    chosen = KINDS[kind]
    return byte_level(chosen.special, added=chosen.added, template=chosen.template)


def byte_level(
    special: Sequence[str] = (), *, added: Sequence[str] = (), template: str | None = None
) -> PreTrainedTokenizerFast:
    """Byte-level BPE: every text survives the round trip."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<pad>", "<bos>", "<eos>", *special],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    return _finished(tokenizer, special, added, template)


def sentencepiece_like(
    prepend: Prepend,
    special: Sequence[str] = (),
    *,
    template: str | None = None,
    bos: bool = False,
) -> PreTrainedTokenizerFast:
    """BPE over words that begin with "▁", bytes for unknown characters, as converted SentencePiece models have it.

    `prepend` says who puts "▁" before a text: a Metaspace pre-tokenizer, before every piece between special tokens
    (always) or the first only, or a normalizer (the oldest kind, which doubles a leading space).
    """
    byte_tokens = [f"<0x{byte:02X}>" for byte in range(256)]
    words = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    words.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY + 256, special_tokens=["<pad>", "<bos>", "<eos>", "<unk>"], show_progress=False
    )
    # A line break is no letter of such vocabularies: it is spelled in bytes.
    words.train_from_iterator([text.replace("\n", " ") for text in TEXTS], trainer)
    vocabulary = dict(sorted(words.get_vocab().items(), key=lambda item: item[1]))
    for token in byte_tokens:
        vocabulary.setdefault(token, len(vocabulary))
    tokenizer = Tokenizer(
        models.BPE(vocab=vocabulary, merges=_merges(words), unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    )
    if prepend == "normalizer":
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=prepend, split=False)
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    if bos:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<bos> $A", special_tokens=[("<bos>", vocabulary["<bos>"])]
        )
    return _finished(tokenizer, special, (), template, unk_token="<unk>")


def _merges(tokenizer: Tokenizer) -> list[tuple[str, str]]:
    return [(left, right) for left, right in json.loads(tokenizer.to_str())["model"]["merges"]]


def _finished(
    tokenizer: Tokenizer, special: Sequence[str], added: Sequence[str], template: str | None, **tokens: str
) -> PreTrainedTokenizerFast:
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    tokenizer.add_tokens([AddedToken(token, special=False, normalized=False) for token in added])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<bos>",
        eos_token="<eos>",
        clean_up_tokenization_spaces=False,
        **tokens,
    )
    fast.chat_template = template
    return fast
