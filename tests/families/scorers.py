"""Tiny random reward models of the families that people publish, with a tokenizer of the family's kind."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tokenizers import processors
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedTokenizerFast

from pipelines.output.quiet import quiet_transformers
from tests.families.policies import ATTENTION, ENCODER, SPREAD, WINDOW, decoder_tokenizer, drawn
from tests.templates import byte_level


@dataclass(frozen=True)
class ScorerCase:
    """One row of the table. `ends` are what an encoder's tokenizer puts before and after a text, and pads with.

    `refusal` is a part of the sentence with which a family is refused.
    """

    name: str
    architecture: dict[str, object]
    template: str = "none"
    ends: tuple[str, str] | None = None
    special: str = ""
    padding_token: bool = True
    refusal: str | None = None
    slow: bool = False


BERT_ENDS, ROBERTA_ENDS, XLNET_ENDS = ("[CLS] $A [SEP]", "[PAD]"), ("<s> $A </s>", "<pad>"), ("$A <sep> <cls>", "<pad>")

SCORERS = (
    ScorerCase("Llama", {"model_type": "llama", **ATTENTION}, "headers"),
    ScorerCase("Qwen2", {"model_type": "qwen2", **ATTENTION}, "chatml"),
    ScorerCase(
        "Gemma 2",
        {
            "model_type": "gemma2",
            **ATTENTION,
            "head_dim": 8,
            "query_pre_attn_scalar": 8,
            "sliding_window": WINDOW,
            "attn_logit_softcapping": 5.0,
        },
        "alternating",
        special="sliding and full attention in turn, soft caps",
    ),
    ScorerCase(
        "Mistral",
        {"model_type": "mistral", **ATTENTION, "sliding_window": WINDOW},
        "alternating",
        None,
        "sliding window",
    ),
    ScorerCase(
        "Llama, no padding token",
        {"model_type": "llama", **ATTENTION},
        special="rows go one at a time",
        padding_token=False,
    ),
    ScorerCase("BERT", {"model_type": "bert", **ENCODER}, ends=BERT_ENDS),
    ScorerCase(
        "RoBERTa",
        {"model_type": "roberta", **ENCODER},
        ends=ROBERTA_ENDS,
        special="positions begin behind the padding token's",
    ),
    ScorerCase(
        "DeBERTa-v2",
        {
            "model_type": "deberta-v2",
            **ENCODER,
            "relative_attention": True,
            "pos_att_type": ["c2p", "p2c"],
            "position_buckets": 16,
            "share_att_key": True,
            "norm_rel_ebd": "layer_norm",
            "position_biased_input": False,
            "type_vocab_size": 0,
        },
        ends=BERT_ENDS,
        special="relative positions",
    ),
    ScorerCase(
        "ModernBERT",
        {"model_type": "modernbert", **ENCODER, "local_attention": WINDOW, "global_attn_every_n_layers": 2},
        ends=BERT_ENDS,
        special="local and global attention in turn",
    ),
    ScorerCase(
        "XLNet",
        {
            "model_type": "xlnet",
            "d_model": 32,
            "d_inner": 48,
            "n_layer": 2,
            "n_head": 4,
            "initializer_range": SPREAD,
        },
        ends=XLNET_ENDS,
        special="reads its padding",
        refusal="reads its padding",
    ),
)


def save_scorer(case: ScorerCase, folder: Path) -> str:
    """The reward model's folder, with weights and tokenizer."""
    tokenizer = tokenizer_of(case)
    config = AutoConfig.for_model(
        **case.architecture,
        num_labels=1,
        vocab_size=len(tokenizer),
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        cls_token_id=tokenizer.cls_token_id,
        sep_token_id=tokenizer.sep_token_id,
    )
    with quiet_transformers():
        model = drawn(AutoModelForSequenceClassification, config)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return str(folder)


def tokenizer_of(case: ScorerCase) -> PreTrainedTokenizerFast:
    """The case's tokenizer; an encoder's has its special tokens in the places of that family."""
    if case.ends is None:
        return decoder_tokenizer(case.template, padding_token=case.padding_token)
    pattern, pad = case.ends
    special = [word for word in pattern.split() if word != "$A"]
    tokenizer = byte_level([*special, pad])
    ids = [(token, tokenizer.convert_tokens_to_ids(token)) for token in special]
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(single=pattern, special_tokens=ids)
    tokenizer.pad_token, tokenizer.cls_token, tokenizer.sep_token = pad, special[0], special[1]
    return tokenizer
