"""A whole run in miniature: a random tiny policy, two reward functions, a handful of prompts. Seconds, no download."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from actors.cluster.cast import Cast, spawn
from allgood.conversations import prompt_id
from pipelines.alignment.align import run_align
from pipelines.cast.faults import OPS
from pipelines.cast.request import align_request
from pipelines.config.run import RunConfig
from pipelines.data.prepared import PreparedData, Prompt, Split, save_prepared
from pipelines.references.build import build_references
from tests.actors.tiny_models import save_policy, save_scorer

TOPICS = (
    "bread",
    "rivers",
    "Paris",
    "yeast",
    "water",
    "flour",
    "Europe",
    "the Danube",
    "baking",
    "long rivers",
    "cake",
    "tea",
)
# Properties whose function fails, each in its own way.
FAILING = {
    name: {"kind": "function", "function": f"tests.pipelines.tiny_rewards:{function}", "placement": {"cpus": 0.1}}
    for name, function in (
        ("rule", "always_broken"),
        ("patchy", "patchy"),
        ("hidden", "failed_as_zero"),
        ("broken", "broken_on_b"),
    )
}
# Those of `tiny_config` against a constant: a run on them needs no table of references.
CONSTANT = {
    name: {
        "kind": "function",
        "function": f"tests.pipelines.tiny_rewards:{name}",
        "reference": {"kind": "constant", "value": 0.5},
        "zero_is_a_score": True,
        "placement": {"cpus": 0.1},
    }
    for name in ("short", "vowels")
}
SPLITS: dict[Split, int] = {"alignment": 10, "validation": 4, "test": 4, "sft": 3, "reward": 3}


def tiny_config(folder: Path, name: str = "arm", **changes: Any) -> RunConfig:
    """The run `folder/runs/<name>` on the base `folder/base`; `changes` replace whole sections."""
    sections: dict[str, Any] = {
        "name": name,
        "seed": 3,
        "output_dir": folder / "runs",
        "base": folder / "base",
        "data": {"pairs": {"short": {"path": "absent.jsonl"}}},  # never read: the base holds prepared data
        "policy": {"model": str(folder / "base" / "sft" / "best")},
        "properties": {
            "short": {
                "kind": "function",
                "function": "tests.pipelines.tiny_rewards:short",
                "reference": {"kind": "quantile", "quantile": 0.85},
                "zero_is_a_score": True,
                "placement": {"cpus": 0.1},
            },
            "vowels": {
                "kind": "function",
                "function": "tests.pipelines.tiny_rewards:vowels",
                "zero_is_a_score": True,
                "placement": {"cpus": 0.1},
            },
        },
        "sampling": {"max_new_tokens": 12, "max_prompt_tokens": 64, "prompts_per_chunk": 2},
        "references": {"num_samples": 8, "prompts_per_chunk": 7},
        "align": {
            "steps": 6,
            "prompts_per_step": 4,
            "samples_per_prompt": 3,
            "optimizer": {"learning_rate": 1e-3, "schedule": "constant"},
            "evaluate_every": 3,
            "checkpoint_every": 2,
            "max_evaluation_prompts": 3,
        },
        "placement": {  # CI machines may be busy, and have few CPUs
            "timeout_s": 300.0,
            "rollout": {"cpus": 0.1},
            "reference_policy": {"cpus": 0.1},
            "learner": {"cpus": 0.1},
        },
        "tracking": {"wandb": "disabled"},
        "device": "cpu",
    }
    return RunConfig.model_validate(sections | changes)


def make_base(folder: Path, sizes: Mapping[Split, int] = SPLITS) -> RunConfig:
    """Write prompts with their splits and an "SFT" policy; returns the config of a run on them."""
    splits: list[Split] = [split for split, count in sizes.items() for _ in range(count)]
    texts = [
        f"\n\nHuman: Question {index}: tell me about {TOPICS[index % len(TOPICS)]}.\n\nAssistant:"
        for index in range(len(splits))
    ]
    prompts = [Prompt(prompt_id(text), text, split, "tiny") for text, split in zip(texts, splits, strict=True)]
    save_prepared(PreparedData(prompts, {}, [], {}), folder / "base" / "data", key="tiny")
    save_policy(folder / "base" / "sft" / "best", spread=2.0)
    return tiny_config(folder)


def undisturbed(folder: Path, config: RunConfig, cast: Cast) -> RunConfig:
    """Have run what nothing happens to, on a base with references in the same folder."""
    build_references(make_base(folder), cast)
    run_align(config, cast)
    return config


def liked(folder: Path) -> dict[str, Any]:
    """A property with a reward model, the same in every folder."""
    model = save_scorer(folder / "scorer")
    return {"kind": "model", "model": model, "max_tokens": 128, "placement": {"cpus": 0.1}}


@contextmanager
def cast_on_base(config: RunConfig) -> Iterator[Cast]:
    """The actors of an alignment, which first build the references of `config`'s base."""
    with spawn(align_request(config)) as cast:
        build_references(config, cast)
        yield cast


def logged_rows(config: RunConfig) -> list[dict[str, Any]]:
    """The rows of metrics.jsonl."""
    return [json.loads(line) for line in (config.folder / "metrics.jsonl").read_text().splitlines()]


def final_weights(config: RunConfig) -> dict[str, torch.Tensor]:
    """The weights of the aligned policy."""
    return load_file(config.folder / "model" / "model.safetensors")


def assert_same_run(first: RunConfig, second: RunConfig) -> None:
    """Equal in everything but wall-clock: every logged step, and the final weights to the bit."""
    assert without_wall_clock(first) == without_wall_clock(second)
    weights = final_weights(second)
    assert all(torch.equal(value, weights[name]) for name, value in final_weights(first).items())


def without_wall_clock(config: RunConfig) -> list[dict[str, Any]]:
    """The rows of metrics.jsonl without seconds, speeds and what went wrong and was got over."""
    return [
        {name: value for name, value in row.items() if "second" not in name and not name.startswith(OPS)}
        for row in logged_rows(config)
    ]
