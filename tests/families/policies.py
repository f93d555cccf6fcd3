"""Tiny random policies of the families that people align, each with what makes it different, and how it is saved.

An architecture is what `policy.architecture` of a run file takes. Weights are drawn with a large spread, so that a
wrong mask, position or cache moves a log-probability by far more than the tolerance.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from pipelines.output.quiet import quiet_transformers
from tests.templates import KINDS, template_tokenizer

SPREAD = 0.3  # standard deviation of the weights
ORDINARY_ENDS = range(100, 150)  # so many that samples meet them early
WINDOW = 16  # tokens; two layers of it see the padding of the shortest prompt, and not all of the longest


@dataclass(frozen=True)
class PolicyCase:
    """One row of the table. `extra_tokens` is by how much the embedding exceeds the tokenizer.

    With `several_ends` the generation config names end tokens that the tokenizer takes for text. `padding_token` False
    leaves tokenizer and config without one. `refusal` is part of the sentence with which the family is refused.
    """

    name: str
    architecture: dict[str, object]
    template: str
    special: str = ""
    extra_tokens: int = 0
    several_ends: bool = False
    padding_token: bool = True
    refusal: str | None = None
    slow: bool = False


ENCODER: dict[str, object] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 512,
    "initializer_range": SPREAD,
}
ATTENTION: dict[str, object] = {**ENCODER, "num_key_value_heads": 2}
GPT: dict[str, object] = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 512, "initializer_range": SPREAD}
STATE: dict[str, object] = {"mamba_n_groups": 1, "mamba_d_state": 16, "mamba_chunk_size": 16}

LLAMA = PolicyCase("Llama", {"model_type": "llama", **ATTENTION}, "headers")

POLICIES = (
    LLAMA,
    PolicyCase(
        "Qwen2",
        {"model_type": "qwen2", **ATTENTION},
        "chatml",
        "embedding larger than the tokenizer",
        extra_tokens=64,
    ),
    PolicyCase(
        "Qwen3",
        {"model_type": "qwen3", **ATTENTION, "head_dim": 8},
        "reasoning",
        "norms of queries and keys",
    ),
    PolicyCase(
        "Mistral",
        {"model_type": "mistral", **ATTENTION, "sliding_window": WINDOW},
        "alternating",
        "sliding window",
    ),
    PolicyCase(
        "Gemma 2",
        {
            "model_type": "gemma2",
            **ATTENTION,
            "head_dim": 8,
            "query_pre_attn_scalar": 8,
            "sliding_window": WINDOW,
            "attn_logit_softcapping": 5.0,
            "final_logit_softcapping": 10.0,
        },
        "alternating",
        "sliding and full attention in turn, soft caps, tied embeddings",
    ),
    PolicyCase(
        "Gemma 3",
        {
            "model_type": "gemma3_text",
            **ATTENTION,
            "head_dim": 8,
            "query_pre_attn_scalar": 8,
            "sliding_window": WINDOW,
            "layer_types": ["sliding_attention", "full_attention"],
        },
        "alternating",
        "sliding and full attention in turn, two bases of rotation, tied embeddings",
    ),
    PolicyCase("Phi-3", {"model_type": "phi3", **ATTENTION}, "chatml", "keys, queries and values in one matrix"),
    PolicyCase(
        "GPT-2",
        {"model_type": "gpt2", **GPT},
        "none",
        "learned positions, tied embeddings, no padding token",
        padding_token=False,
    ),
    PolicyCase(
        "GPT-NeoX",
        {"model_type": "gpt_neox", **ATTENTION},
        "none",
        "rotation of a quarter of each head, no padding token",
        padding_token=False,
    ),
    PolicyCase(
        "OPT",
        {
            "model_type": "opt",
            "hidden_size": 32,
            "ffn_dim": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "max_position_embeddings": 512,
            "word_embed_proj_dim": 16,
            "init_std": SPREAD,
        },
        "none",
        "learned positions behind an offset, projected embeddings, tied",
    ),
    PolicyCase(
        "Mamba-2",
        {
            "model_type": "mamba2",
            "hidden_size": 32,
            "num_heads": 8,
            "head_dim": 8,
            "n_groups": 1,
            "state_size": 16,
            "expand": 2,
            "num_hidden_layers": 2,
            "chunk_size": 16,
            "initializer_range": SPREAD,
        },
        "none",
        "recurrent layers only",
    ),
    PolicyCase(
        "Bamba",
        {
            "model_type": "bamba",
            **ATTENTION,
            **STATE,
            "attn_layer_indices": [1],
            "mamba_n_heads": 8,
            "mamba_d_head": "auto",
            "mamba_expand": 2,
        },
        "chatml",
        "recurrent and attention layers in turn",
    ),
    dataclasses.replace(
        LLAMA,
        name="Llama, tied embeddings",
        architecture=LLAMA.architecture | {"tie_word_embeddings": True},
        special="tied embeddings",
    ),
    dataclasses.replace(LLAMA, name="Llama, several end tokens", special="several end tokens", several_ends=True),
)


def save_policy(case: PolicyCase, folder: Path) -> str:
    """The policy's folder, with weights, tokenizer and generation config."""
    tokenizer = decoder_tokenizer(case.template, padding_token=case.padding_token)
    config = AutoConfig.for_model(
        **case.architecture,
        vocab_size=len(tokenizer) + case.extra_tokens,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with quiet_transformers():
        model = drawn(AutoModelForCausalLM, config)
        ends = {tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids(KINDS[case.template].end)}
        if case.several_ends:
            ends |= set(ORDINARY_ENDS)
        model.generation_config.eos_token_id = sorted(ends)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return str(folder)


def drawn(
    auto: type[AutoModelForCausalLM | AutoModelForSequenceClassification], config: PreTrainedConfig
) -> PreTrainedModel:
    """A model with random weights, always the same."""
    torch.manual_seed(0)
    model: PreTrainedModel = auto.from_config(config)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):  # drawn as zero, and would hide what is done with them
            torch.nn.init.normal_(parameter, std=SPREAD)
    return model


def decoder_tokenizer(kind: str, *, padding_token: bool) -> PreTrainedTokenizerFast:
    """The tokenizer of a chat template."""
    tokenizer = template_tokenizer(kind)
    if not padding_token:
        tokenizer.pad_token = None
    return tokenizer
