"""Two steps of the training loop that SFT and reward models share, in this process."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch

from actors.learning.specs import OptimizerSpec
from pipelines.config.training import TrainingConfig
from pipelines.training.job import Job, LoadModel, Loss
from pipelines.training.rows import Rows
from pipelines.training.train import train
from pipelines.training.workers import Workers

_TRAINING = TrainingConfig(
    batch_size=4, max_steps=2, epochs=2, optimizer=OptimizerSpec(learning_rate=2e-3, schedule="constant")
)


def train_two_steps(
    folder: Path,
    rows: Rows,
    *,
    name: str,
    load: LoadModel,
    loss: Loss,
    task: Literal["CAUSAL_LM", "SEQ_CLS"],
    sums: tuple[str, ...],
) -> float:
    """Train on the rows and validate on the same; writes best/ and last/, and returns the last loss reported."""
    folder.mkdir()
    job = Job(
        name=name,
        folder=folder,
        training=_TRAINING,
        train=rows,
        validation=rows,
        load=load,
        loss=loss,
        finish=_nothing_more,
        task=task,
        sums=sums,
        select="loss",
        seed=0,
        device="cpu",
        dtype="auto",
        threads=1,
        grace_s=20.0,
    )
    outcome = train(job, Workers())
    assert outcome is not None
    return outcome.last_value


def _nothing_more(device: torch.device) -> dict[str, object]:
    return {}
