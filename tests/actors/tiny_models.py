"""Tiny models and a tokenizer that tests make for themselves: no download, a fraction of a second each."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    BertConfig,
    DeepseekV2Config,
    DiffLlamaConfig,
    GPT2Config,
    JambaConfig,
    LlamaConfig,
    Mamba2Config,
    MambaConfig,
    MistralConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    RwkvConfig,
)

TEXTS = [
    "\n\nHuman: How do I bake bread?\n\nAssistant: Mix flour, water and yeast, then bake it.",
    "\n\nHuman: Name a river.\n\nAssistant: The Danube is a long river in Europe.",
    "\n\nHuman: What is the capital of France?\n\nAssistant: Paris.",
]
PROMPTS = [text[: text.index("Assistant:") + len("Assistant:")] for text in TEXTS]
RESPONSES = [text[text.index("Assistant:") + len("Assistant:") :].strip() for text in TEXTS]


def tokenizer(*, vocab_size: int = 320, eos: bool = True, pad: bool = True) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer trained on a few sentences: <pad> 0, <bos> 1, <eos> 2."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=["<pad>", "<bos>", "<eos>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(TEXTS, trainer)
    special = {"bos_token": "<bos>"} | ({"eos_token": "<eos>"} if eos else {}) | ({"pad_token": "<pad>"} if pad else {})
    return PreTrainedTokenizerFast(tokenizer_object=bpe, **special)


def config(architecture: str, *, vocab_size: int = 320, **changes: object) -> PreTrainedConfig:
    """Two small layers; llama and qwen2 with grouped heads, mistral with a window of 8 tokens."""
    shared = {"vocab_size": vocab_size, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    llama_like = shared | {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 256,
    }
    makers = {
        "llama": lambda: LlamaConfig(**llama_like | changes),
        "qwen2": lambda: Qwen2Config(**llama_like | changes),
        "mistral": lambda: MistralConfig(**llama_like | {"sliding_window": 8} | changes),
        "gpt2": lambda: GPT2Config(**shared | {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256} | changes),
        # recurrent and attention layers in turn
        "jamba": lambda: JambaConfig(
            **llama_like
            | {"attn_layer_period": 2, "attn_layer_offset": 1, "num_experts": 1, "use_mamba_kernels": False}
            | changes
        ),
        # keys and values are cached in compressed form
        "deepseek": lambda: DeepseekV2Config(
            **llama_like
            | {"num_key_value_heads": 4, "q_lora_rank": 16, "kv_lora_rank": 16, "qk_rope_head_dim": 8}
            | {"qk_nope_head_dim": 8, "v_head_dim": 8, "first_k_dense_replace": 2}
            | changes
        ),
        # attention whose heads are subtracted from each other afterwards
        "diffllama": lambda: DiffLlamaConfig(**llama_like | changes),
        # recurrent layers alone; a chunk is shorter than the rows of a test
        "mamba": lambda: MambaConfig(**shared | {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 8} | changes),
        "mamba2": lambda: Mamba2Config(
            **shared
            | {"hidden_size": 64, "num_heads": 8, "head_dim": 16, "n_groups": 1, "state_size": 16}
            | {"num_hidden_layers": 2, "chunk_size": 8}
            | changes
        ),
        # a state of its own that is no cache of transformers
        "rwkv": lambda: RwkvConfig(**shared | {"hidden_size": 32, "num_hidden_layers": 2} | changes),
        "bert": lambda: BertConfig(**llama_like | changes),
    }
    return makers[architecture]()


def policy(architecture: str = "llama", *, seed: int = 0, spread: float = 4.0, **changes: object) -> PreTrainedModel:
    """A random causal language model; `spread` sharpens its distributions, so that mistakes show."""
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config(architecture, **changes)).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1 and "norm" not in name:
                parameter.mul_(spread)
    return model


def save_policy(folder: Path, **arguments: object) -> str:
    """A policy folder with its tokenizer."""
    policy(**arguments).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return str(folder)


def save_scorer(
    folder: Path, architecture: str = "bert", *, num_labels: int = 1, seed: int = 0, **changes: object
) -> str:
    """A sequence-classifier folder with its tokenizer; rewards of different texts differ clearly."""
    torch.manual_seed(seed)
    positions = {"max_position_embeddings": 512}  # as many tokens as are scored by default
    model = AutoModelForSequenceClassification.from_config(
        config(architecture, num_labels=num_labels, **positions | changes)
    ).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1 and "norm" not in name.lower():
                parameter.mul_(4.0)
    model.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return str(folder)
