"""A tokenizer for policies trained from scratch: byte-level BPE, so that every text survives the round trip exactly."""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from pipelines.data.prepared import PreparedData

EOS, PAD = "<eos>", "<pad>"


def train_tokenizer(
    texts: Iterable[str], vocab_size: int, *, model_max_length: int = 1_000_000
) -> PreTrainedTokenizerFast:
    """Byte-level BPE with `<eos>` (id 0) and `<pad>` (id 1). The same texts give the same tokenizer.

    Args:
        texts: What to learn the merges from.
        vocab_size: Upper limit on the number of tokens, all 256 bytes and the two special tokens included.
        model_max_length: The context of the model that it is for, in tokens.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[EOS, PAD],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=EOS,
        pad_token=PAD,
        model_max_length=model_max_length,
        clean_up_tokenization_spaces=False,
    )


def tokenizer_texts(data: PreparedData) -> list[str]:
    """What a run's own tokenizer learns from: demonstrations and reward-model pairs, nothing of validation or test."""
    demonstrations = (
        text for row in data.demonstrations if row.split == "sft" for text in (row.prompt, f" {row.response}")
    )
    pairs = (
        text
        for pairs in data.pairs.values()
        for row in pairs
        if row.split == "reward"
        for text in (row.prompt, f" {row.chosen}", f" {row.rejected}")
    )
    return [*demonstrations, *pairs]
