"""A tiny instruct model, reward models that read otherwise, prompts as messages: what people bring, in miniature."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from transformers import GenerationConfig

from tests.actors.tiny_models import policy, save_scorer
from tests.templates import template_tokenizer

EOS = 2
TOPICS = ("bread", "rivers", "Paris", "yeast", "water", "tea")


def save_instruct(folder: Path) -> str:
    """ChatML, tied embeddings, bfloat16 on disk, more rows than tokens, two EOS tokens, settings for serving."""
    tokenizer = template_tokenizer("chatml")
    model = policy("qwen2", vocab_size=448, tie_word_embeddings=True).to(torch.bfloat16)
    ends = [tokenizer.convert_tokens_to_ids("<|im_end|>"), EOS]
    model.generation_config = GenerationConfig(
        eos_token_id=ends, pad_token_id=0, do_sample=True, temperature=0.7, top_p=0.8, repetition_penalty=1.1
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def save_reward_models(folder: Path) -> dict[str, str]:
    """A causal model with a header-style template, and an encoder of plain text; each has its own tokenizer."""
    models = {}
    for seed, (name, architecture, kind) in enumerate((("helpful", "llama", "headers"), ("harmless", "bert", "none"))):
        tokenizer = template_tokenizer(kind)
        models[name] = save_scorer(
            folder / name, architecture, seed=seed, vocab_size=len(tokenizer), max_position_embeddings=1024
        )
        tokenizer.save_pretrained(folder / name)
    return models


def write_prompts(path: Path, num_prompts: int = 40) -> str:
    """Rows with lists of messages: some with a system turn, some with earlier turns."""
    rows = []
    for index in range(num_prompts):
        system = [{"role": "system", "content": "Be brief."}] if index % 3 == 0 else []
        earlier = [
            {"role": "user", "content": f"Question {index}: tell me about {TOPICS[index % len(TOPICS)]}."},
            {"role": "assistant", "content": "It is nice."},
        ]
        last = {"role": "user", "content": f"And what else about number {index * 7}?"}
        rows.append({"id": index, "prompt": [*system, *(earlier if index % 4 == 0 else []), last]})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)
