"""An instruct policy, two reward models with a tokenizer and template of their own, and prompts as messages: tiny."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification, PreTrainedTokenizerBase

from pipelines.config.run import RunConfig
from tests.actors.tiny_models import config as tiny_model_config
from tests.actors.tiny_models import policy
from tests.templates import template_tokenizer


def save_instruct_policy(folder: Path) -> str:
    """A Qwen2 with ChatML; turns end in <|im_end|>, and its EOS is another token."""
    tokenizer = template_tokenizer("chatml")
    policy("qwen2", vocab_size=len(tokenizer), spread=2.0).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def save_chat_scorer(folder: Path, *, seed: int = 0, num_labels: int = 1, spread: float = 4.0) -> str:
    """A Llama classifier with a template of headers, that writes BOS itself."""
    tokenizer: PreTrainedTokenizerBase = template_tokenizer("headers")
    torch.manual_seed(seed)
    made = tiny_model_config(
        "llama", vocab_size=len(tokenizer), num_labels=num_labels, pad_token_id=tokenizer.pad_token_id
    )
    model = AutoModelForSequenceClassification.from_config(made).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1 and "norm" not in name:
                parameter.mul_(spread)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def write_prompts(path: Path, *, num_prompts: int = 24) -> str:
    """Messages, every third with a system turn; the first is long."""
    rows = []
    for number in range(num_prompts):
        system = [{"role": "system", "content": "Be brief."}] if number % 3 == 0 else []
        text = "What is a river? " * (12 if number == 0 else 1) + f"Number {number}."
        rows.append({"prompt": [*system, {"role": "user", "content": text}]})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def instruct_config(folder: Path, **changes: Any) -> RunConfig:
    """A run on all of these; `changes` replace whole sections."""
    sections: dict[str, Any] = {
        "name": "own",
        "output_dir": folder / "runs",
        "device": "cpu",
        "policy": {"model": save_instruct_policy(folder / "policy")},
        "sft": None,
        "data": {"prompts": {"path": write_prompts(folder / "prompts.jsonl")}},
        "properties": {
            "helpful": {"kind": "model", "model": save_chat_scorer(folder / "helpful"), "max_tokens": 200},
            "harmless": {"kind": "model", "model": save_chat_scorer(folder / "harmless", seed=1), "max_tokens": 200},
        },
        "sampling": {"max_new_tokens": 16, "max_prompt_tokens": 100},
        "tracking": {"wandb": "disabled"},
    }
    return RunConfig.model_validate(sections | changes)
