"""A run that trains in about a second: a few prompts, a small new policy, preferences that can be learned."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pipelines.config.run import RunConfig

SPLITS = ("sft", "reward", "alignment", "validation", "test")
THINGS = ("bread", "rain", "tea", "wood", "salt", "stone", "milk", "wind")
ARCHITECTURE = {
    "model_type": "llama",
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "tie_word_embeddings": True,
}


def tiny_run(folder: Path, **changes: Any) -> RunConfig:
    """A run in `folder` on pairs whose better answer says "yes indeed"; `changes` replace sections."""
    pairs, demonstrations = folder / "pairs.jsonl", folder / "demonstrations.jsonl"
    if not pairs.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_jsonl(pairs, pair_rows())
        write_jsonl(demonstrations, demonstration_rows())
    settings = {
        "name": "tiny",
        "seed": 3,
        "output_dir": folder / "runs",
        "device": "cpu",
        "data": {"pairs": {"helpful": {"path": str(pairs)}}, "demonstrations": {"path": str(demonstrations)}},
        "tokenizer": {"train": True, "vocab_size": 320},
        "policy": {"architecture": ARCHITECTURE},
        "sft": {"max_tokens": 64, "training": training(max_steps=12)},
        "properties": {"helpful": {"kind": "model", "train": reward_training(), "max_tokens": 64}},
        "evaluate": {"bootstrap": 200},
    }
    return RunConfig.model_validate(settings | changes)


def training(**changes: Any) -> dict[str, Any]:
    """Settings of a short training."""
    optimizer = {"learning_rate": 3e-3, "warmup_steps": 2}
    return {"epochs": 4, "batch_size": 16, "evaluate_every": 5, "optimizer": optimizer} | changes


def reward_training(
    *, backbone: str = "sft", training_changes: dict[str, Any] | None = None, **changes: Any
) -> dict[str, Any]:
    """Settings of a short reward-model training."""
    return {"backbone": backbone, "max_tokens": 64, "training": training(**training_changes or {})} | changes


def pair_rows(*, per_split: int = 12) -> list[dict[str, str]]:
    """Preference pairs in hh text with their split; half of the better answers are the longer ones."""
    rows = []
    for index, (prompt, split) in enumerate(prompts(per_split=per_split)):
        for extra in ("", " now") if index % 2 else (" now", ""):
            better, worse = f"yes indeed{extra}", f"no never{' now' if not extra else ''}"
            rows.append({"chosen": f"{prompt} {better}", "rejected": f"{prompt} {worse}", "split": split})
    return rows


def demonstration_rows(*, per_split: int = 12) -> list[dict[str, str]]:
    return [
        {"prompt": prompt, "response": response, "split": split}
        for prompt, split in prompts(per_split=per_split)
        if split in ("sft", "validation")
        for response in ("yes indeed", "no never")
    ]


def prompts(*, per_split: int) -> list[tuple[str, str]]:
    """(prompt, split), each prompt once."""
    texts = [f"\n\nHuman: Is {a} like {b} in case {n}?\n\nAssistant:" for n in range(4) for a in THINGS for b in THINGS]
    return [(text, SPLITS[index % len(SPLITS)]) for index, text in enumerate(texts[: per_split * len(SPLITS)])]


def write_jsonl(path: Path, rows: list[dict[str, str]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
