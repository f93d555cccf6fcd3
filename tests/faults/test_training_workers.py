"""kill -9 of one of several workers of a training, then the same command: the same bits as without the kill."""

from __future__ import annotations

import os
import signal
from functools import partial
from pathlib import Path

import pytest
from torch import nn

from allgood.errors import RoleError
from pipelines.config.training import LoraConfig
from pipelines.training.job import Job
from pipelines.training.losses import next_token_loss
from pipelines.training.rows import Tensors
from pipelines.training.run import run_training
from tests.pipelines.training.resumed import assert_same_end, rows, told
from tests.pipelines.training.tiny_jobs import job, with_training

pytestmark = pytest.mark.faults

MARKER = "kill"  # a file in the folder of tests: while it is there, a worker dies of it


def deadly_loss(model: nn.Module, batch: Tensors, *, folder: Path) -> Tensors:
    """The usual loss, but the second worker is killed where it makes the fifth step."""
    if (folder / MARKER).exists() and os.environ["RANK"] == "1" and len(rows(folder)) > 4:
        os.kill(os.getpid(), signal.SIGKILL)
    return next_token_loss(model, batch)


def training(folder: Path) -> Job:
    """With dropout, so that every worker draws random numbers of its own."""
    adapters = LoraConfig(rank=2, dropout=0.5)
    return with_training(
        job(folder, loss=partial(deadly_loss, folder=folder)), lora=adapters, workers=2, cpus_per_worker=0.5
    )


@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.timeout(900)
def test_a_training_goes_on_after_the_kill_of_a_worker(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole, broken = training(tmp_path / "whole"), training(tmp_path / "broken")
    run_training(whole, show_progress=False)
    broken.folder.mkdir()
    (broken.folder / MARKER).touch()
    with pytest.raises(RoleError, match="died"):
        run_training(broken, show_progress=False)
    last = max(path.name for path in broken.checkpoints.iterdir())
    said = capsys.readouterr()
    assert f"{last} is complete and the same command goes on from it" in said.out + said.err
    (broken.folder / MARKER).unlink()
    run_training(broken, show_progress=False)
    assert told(broken.folder) == [f"training tiny goes on after step {int(last.removeprefix('step_'))} of 6"]
    assert_same_end(broken.folder, whole.folder)
