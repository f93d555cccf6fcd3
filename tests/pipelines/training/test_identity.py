"""What decides the steps of a training changes its identity, and what does not leaves it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from actors.learning.specs import OptimizerSpec
from pipelines.training.identity import identity
from pipelines.training.job import Job
from pipelines.training.losses import bradley_terry_loss
from pipelines.training.rows import DemonstrationRows, PairRows, Ragged, Rows
from tests.pipelines.training.tiny_jobs import demonstrations, job, with_training

JOB = job(Path("nowhere"))
PAIRS = PairRows(Ragged.of([[1, 2], [3]]), Ragged.of([[4], [5]]), np.zeros(2, "f4"))


def model(bias: float = 0.0) -> nn.Module:
    layer = nn.Linear(3, 2)
    nn.init.constant_(layer.weight, 0.5)
    nn.init.constant_(layer.bias, bias)
    return layer


def frozen() -> nn.Module:
    layer = model()
    layer.get_parameter("bias").requires_grad_(False)
    return layer


def changed(
    training: Job, start: nn.Module | None = None, *, of: Job = JOB, dtype: torch.dtype = torch.float32
) -> list[str]:
    before, now = identity(of, model(), torch.float32), identity(training, start or model(), dtype)
    return [name for name in before if before[name] != now[name]]


def loss(center_coefficient: float) -> Callable[..., object]:
    return partial(bradley_terry_loss, center_coefficient=center_coefficient)


def test_equal_trainings_are_equal_wherever_they_run() -> None:
    elsewhere = dataclasses.replace(job(Path("elsewhere"), train=demonstrations(47)), name="other", threads=2)
    assert changed(with_training(elsewhere, workers=2, gpus_per_worker=1.0, cpus_per_worker=3.0)) == []


@pytest.mark.parametrize(
    "other",
    [
        with_training(JOB, optimizer=OptimizerSpec(learning_rate=0.5)),
        with_training(JOB, evaluate_every=3),
        dataclasses.replace(JOB, seed=6),
        dataclasses.replace(JOB, select="accuracy"),
        dataclasses.replace(JOB, loss=loss(0.0)),
    ],
)
def test_other_settings(other: Job) -> None:
    assert changed(other) == ["settings"]


def test_the_arguments_of_a_loss_and_the_precision_are_settings() -> None:
    one, other = (dataclasses.replace(JOB, loss=loss(coefficient)) for coefficient in (0.0, 0.1))
    assert changed(other, of=one) == ["settings"]
    assert changed(JOB, dtype=torch.bfloat16) == ["settings"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (PAIRS, dataclasses.replace(PAIRS, margins=np.array([0, 1], "f4"))),
        (PAIRS, dataclasses.replace(PAIRS, chosen=Ragged.of([[1], [2, 3]]))),  # the same tokens in other rows
        (PAIRS, dataclasses.replace(PAIRS, rejected=Ragged.of([[4], [6]]))),
        (
            DemonstrationRows(Ragged.of([[1, 2]]), Ragged.of([[0, 1]])),
            DemonstrationRows(Ragged.of([[1, 2]]), Ragged.of([[1, 1]])),
        ),
    ],
)
def test_other_data(one: Rows, other: Rows) -> None:
    for part in ("train", "validation"):
        before, now = (dataclasses.replace(JOB, **{part: rows}) for rows in (one, other))
        assert changed(now, of=before) == ["data"]


def test_another_start() -> None:
    assert changed(JOB, model(bias=1e-7)) == ["start weights"]
    assert changed(JOB, frozen()) == ["start weights"]
