"""What a training is: its rows, where its model comes from, its loss, its settings. It travels to workers."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from allgood.scorers.models import load_policy, load_reward_model
from pipelines.config.training import TrainingConfig
from pipelines.training.rows import Rows, Tensors

METRICS, FAULTS, CHECKPOINTS = "metrics.jsonl", "faults.jsonl", "checkpoints"  # in the folder of a training

LoadModel = Callable[[], tuple[PreTrainedModel, PreTrainedTokenizerBase]]
"""The model to train, on CPU in float32, and the tokenizer to save with it. Called on every worker, after seeding."""

Loss = Callable[[nn.Module, Tensors], Tensors]
"""(model, batch) -> sums over the batch; "loss" carries the gradient."""

Finish = Callable[[torch.device], dict[str, Any]]
"""What the first worker does when the models are saved, on its device: the part of the report that needs the model."""


@dataclass(frozen=True)
class Job:
    """One training. `folder` is absolute and receives best/, last/ and metrics.jsonl, and checkpoints/ until its end.

    `grace_s` is how long the running step and a last checkpoint may take when the command is asked to end.
    `sums` names what the loss function returns; the best model has the lowest validation mean of `select`, one of them.
    Everything in it pickles: functions live in modules, or are partials of such.
    """

    name: str
    folder: Path
    training: TrainingConfig
    train: Rows
    validation: Rows
    load: LoadModel
    loss: Loss
    finish: Finish
    task: Literal["CAUSAL_LM", "SEQ_CLS"]
    sums: tuple[str, ...]
    select: str
    seed: int
    device: str
    dtype: str
    threads: int
    grace_s: float

    @property
    def num_steps(self) -> int:
        """Optimiser steps of the training."""
        steps_per_epoch = math.ceil(len(self.train.lengths) / self.training.batch_size)
        steps = max(1, round(self.training.epochs * steps_per_epoch))
        return min(steps, self.training.max_steps or steps)

    def reload(self, folder: Path, device: torch.device) -> PreTrainedModel:
        """The model that was saved in `folder`, as whoever uses it will load it."""
        if self.task == "CAUSAL_LM":
            return load_policy(folder, dtype=torch.float32, device=device)
        return load_reward_model(folder, device=device)[0]

    @property
    def metrics(self) -> Path:
        """One JSON line per step."""
        return self.folder / METRICS

    @property
    def checkpoints(self) -> Path:
        """From which the training goes on when it was interrupted."""
        return self.folder / CHECKPOINTS

    @property
    def faults(self) -> Path:
        """One JSON line per thing that went wrong and was got over, such as an interruption."""
        return self.folder / FAULTS

    @property
    def report(self) -> Path:
        """What whoever trains writes when the training has ended."""
        return self.folder / "report.json"


@dataclass(frozen=True)
class Outcome:
    """What came of a training. `best_value` is the validation value of `Job.select` at `best_step`."""

    num_steps: int
    best_step: int
    best_value: float
    last_value: float
    seconds: float
    tokens_per_s: float
    finished: dict[str, Any]
