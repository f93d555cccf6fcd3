"""Trainings of a second: a new tiny policy that learns to repeat a word, and a reward model on pairs."""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn

from actors.learning.specs import OptimizerSpec
from pipelines.config.training import TrainingConfig
from pipelines.training.job import Job
from pipelines.training.losses import bradley_terry_loss, next_token_loss
from pipelines.training.rows import DemonstrationRows, PairRows, Ragged
from pipelines.training.sources import new_policy, reward_backbone
from tests.actors import tiny_models
from tests.pipelines.tiny_training import ARCHITECTURE


def demonstrations(num_rows: int, *, seed: int = 0) -> DemonstrationRows:
    """Rows of 5 to 9 tokens; each response repeats one token that the prompt names."""
    generator = np.random.default_rng(seed)
    rows, masks = [], []
    for _ in range(num_rows):
        word, num_prompt, num_response = generator.integers(10, 20), generator.integers(3, 6), generator.integers(2, 5)
        rows.append([5] * (num_prompt - 1) + [word] + [word] * num_response)
        masks.append([0] * num_prompt + [1] * num_response)
    return DemonstrationRows(Ragged.of(rows), Ragged.of(masks))


def new_tiny_policy() -> tuple[nn.Module, object]:
    return new_policy(ARCHITECTURE, tiny_models.tokenizer())


def nothing_more(device: torch.device) -> dict[str, object]:
    return {}


def job(folder: Path, **changes: object) -> Job:
    training = TrainingConfig(
        batch_size=10,
        epochs=100,
        max_steps=6,
        evaluate_every=2,
        optimizer=OptimizerSpec(learning_rate=1e-2, warmup_steps=1),
    )
    base = Job(
        name="tiny",
        folder=folder,
        training=training,
        train=demonstrations(47),
        validation=demonstrations(11, seed=1),
        load=new_tiny_policy,
        loss=next_token_loss,
        finish=nothing_more,
        task="CAUSAL_LM",
        sums=("loss", "accuracy"),
        select="loss",
        seed=5,
        device="cpu",
        dtype="auto",
        threads=1,
        grace_s=20.0,
    )
    return dataclasses.replace(base, **changes)


def with_training(original: Job, **changes: object) -> Job:
    return dataclasses.replace(original, training=original.training.model_copy(update=changes))


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def largest_difference(first: Path, second: Path) -> float:
    one, two = weights(first), weights(second)
    assert one.keys() == two.keys()
    return max(float((one[name] - two[name]).abs().max()) for name in one)


def pair_job(folder: Path, source: str) -> Job:
    rows = demonstrations(40).tokens
    worse = Ragged.of([row[: len(row) - 1] for row in map(rows.__getitem__, range(40))])
    pairs = PairRows(rows, worse, np.zeros(40, "f4"))
    return job(
        folder,
        train=pairs,
        validation=pairs,
        load=partial(reward_backbone, source, 0, tiny_models.tokenizer()),
        loss=partial(bradley_terry_loss, center_coefficient=0.0),
        task="SEQ_CLS",
        sums=("loss", "log_loss", "accuracy"),
        select="log_loss",
    )
