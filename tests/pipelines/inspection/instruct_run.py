"""A run on a tiny instruct model and finished reward models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipelines.config.run import RunConfig
from tests.actors.tiny_models import save_scorer
from tests.pipelines.tiny_instruct import save_instruct, save_reward_models, write_prompts
from tests.templates import template_tokenizer


def save_classifier(folder: Path) -> str:
    """Two labels, and a template of headers that writes BOS itself."""
    tokenizer = template_tokenizer("headers")
    save_scorer(folder, "llama", num_labels=2, vocab_size=len(tokenizer))
    tokenizer.save_pretrained(folder)
    return str(folder)


def instruct_config(folder: Path, **changes: Any) -> RunConfig:
    """The run; `changes` replace whole sections."""
    sections: dict[str, Any] = {
        "name": "own",
        "output_dir": folder / "runs",
        "device": "cpu",
        "policy": {"model": save_instruct(folder / "instruct")},
        "sft": None,
        "data": {"prompts": {"path": write_prompts(folder / "prompts.jsonl")}},
        "properties": {
            name: {"kind": "model", "model": model, "max_tokens": 200}
            for name, model in save_reward_models(folder).items()
        },
        "sampling": {"max_new_tokens": 16, "max_prompt_tokens": 160},
        "tracking": {"wandb": "disabled"},
    }
    return RunConfig.model_validate(sections | changes)
