"""A training that is interrupted and begun again ends as if nothing had happened, to the bit."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from actors.learning.specs import OptimizerSpec
from pipelines.config.training import LoraConfig
from pipelines.run.termination import Terminated
from pipelines.training import checkpoint
from pipelines.training.job import Job, Outcome
from pipelines.training.rows import DemonstrationRows, Ragged
from pipelines.training.run import run_training
from pipelines.training.train import train
from pipelines.training.workers import Workers
from tests.actors import tiny_models
from tests.pipelines.training.resumed import assert_same_end, rows, told
from tests.pipelines.training.tiny_jobs import demonstrations, job, largest_difference, pair_job, with_training

MakeJob = Callable[[Path], Job]


def interrupt(training: Job, *steps: int) -> None:
    """Try to train as often as there are `steps`, and ask each try to end after one of them."""
    for step in steps:
        training.faults.unlink(missing_ok=True)  # as whoever starts a training does
        with pytest.raises(Terminated):
            train(training, Workers(is_asked_to_end=partial(has_logged, training.folder, step)))


def has_logged(folder: Path, step: int) -> bool:
    return int(rows(folder)[-1]["step"]) >= step


def finished(training: Job) -> Outcome:
    outcome = run_training(training, show_progress=False)
    return dataclasses.replace(outcome, seconds=0.0, tokens_per_s=0.0)


def with_adapters(folder: Path) -> Job:
    """Adapters with dropout: the only training whose steps draw random numbers."""
    return with_training(job(folder), lora=LoraConfig(rank=2, dropout=0.5))


def that_gets_worse(folder: Path) -> Job:
    """The first evaluation is the best, and patience ends the training after the third."""
    contrary = DemonstrationRows(Ragged.of([[5, 5, 11, 200, 201]]), Ragged.of([[0, 0, 0, 1, 1]]))
    return with_training(job(folder, validation=contrary), max_steps=40, patience=2)


def of_a_reward_model(folder: Path) -> Job:
    source = folder.parent / "source"
    if not source.exists():
        tiny_models.save_scorer(source, "bert")
    return pair_job(folder, str(source))


slow = partial(pytest.param, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    ("make", "steps"),
    [
        slow(job, (1,)),  # before the first evaluation
        (job, (3, 4)),  # the best moment was before the last step, then is the last step
        slow(job, (6,)),  # after the last step
        (with_adapters, (3,)),
        slow(that_gets_worse, (5,)),
        slow(that_gets_worse, (6,)),  # patience has run out already
        slow(of_a_reward_model, (3,)),
    ],
)
def test_an_interrupted_training_ends_with_the_same_bits_and_rows(
    tmp_path: Path, make: MakeJob, steps: Sequence[int]
) -> None:
    whole, broken = make(tmp_path / "whole"), make(tmp_path / "broken")
    interrupt(broken, *steps)
    assert len(rows(broken.folder)) == steps[-1] + 1
    assert finished(broken) == finished(whole)
    assert_same_end(broken.folder, whole.folder)
    assert told(broken.folder) == [f"training tiny goes on after step {steps[-1]} of {broken.num_steps}"]
    assert sorted(path.name for path in broken.folder.iterdir()) == ["best", "faults.jsonl", "last", "metrics.jsonl"]


@pytest.mark.slow
def test_with_the_random_state_of_another_moment_the_bits_differ(tmp_path: Path, monkeypatch: Any) -> None:
    """So the law above says something about it."""
    whole, broken = with_adapters(tmp_path / "whole"), with_adapters(tmp_path / "broken")
    interrupt(broken, 3)
    monkeypatch.setattr(checkpoint, "set_random_state", lambda state: torch.manual_seed(0))
    finished(whole)
    finished(broken)
    assert largest_difference(broken.folder / "last", whole.folder / "last") > 0.0


@pytest.mark.slow
def test_steps_after_the_last_checkpoint_are_made_again_and_logged_once(tmp_path: Path) -> None:
    whole, broken = job(tmp_path / "whole"), job(tmp_path / "broken")
    interrupt(broken, 3)
    with broken.metrics.open("a") as file:
        file.write('{"step": 4, "loss": 0.5}\n{"step": 5, "lo')  # what a kill leaves of steps that are lost
    finished(broken)
    finished(whole)
    assert_same_end(broken.folder, whole.folder)


@pytest.fixture
def stopped(tmp_path: Path) -> Iterator[Job]:
    """Two checkpoints, of steps 2 and 3."""
    training = job(tmp_path / "stopped")
    interrupt(training, 2, 3)
    assert sorted(path.name for path in training.checkpoints.iterdir()) == ["step_000002", "step_000003"]
    yield training
    whole = job(tmp_path / "whole")
    finished(training)
    finished(whole)
    assert_same_end(training.folder, whole.folder)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)


@pytest.mark.parametrize(
    "name", ["weights.safetensors", slow("optimizer.safetensors"), slow("random.json"), slow("metrics.jsonl")]
)
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_is_used(stopped: Job, name: str) -> None:
    flip(stopped.checkpoints / "step_000003" / name)
    interrupt(stopped, 4)
    damage, goes_on = told(stopped.folder)
    assert f"step_000003/{name} is damaged" in damage
    assert goes_on == "training tiny goes on after step 2 of 6"


@pytest.mark.slow
def test_where_all_are_damaged_the_training_starts_anew(stopped: Job) -> None:
    for step in (2, 3):
        flip(stopped.checkpoints / f"step_{step:06d}" / "optimizer.safetensors")
    interrupt(stopped, 1)
    assert told(stopped.folder)[-1] == (
        f"no checkpoint in {stopped.checkpoints} can be used; training tiny starts at step 0"
    )


@pytest.mark.parametrize(
    ("change", "what"),
    [
        slow({"training": {"optimizer": OptimizerSpec(learning_rate=2e-2)}}, "settings"),
        slow({"train": demonstrations(47, seed=3)}, "data"),
        slow({"seed": 6}, "settings and start weights"),
    ],
)
def test_a_checkpoint_of_another_training_is_removed_with_a_sentence(
    tmp_path: Path, change: dict[str, Any], what: str
) -> None:
    other = job(tmp_path / "place")
    interrupt(other, 2)
    settings = change.pop("training", {})
    mine, alone = (
        with_training(dataclasses.replace(job(tmp_path / name), **change), **settings) for name in ("place", "alone")
    )
    finished(mine)
    finished(alone)
    assert_same_end(mine.folder, alone.folder)
    [sentence] = told(mine.folder)
    assert f"step_000002 was made with other {what}, so it is removed, and training tiny starts at step 0" in sentence


@pytest.mark.slow
def test_other_threads_are_said_and_the_training_goes_on(tmp_path: Path) -> None:
    interrupt(job(tmp_path / "out"), 3)
    finished(job(tmp_path / "out", threads=2))
    goes_on, threads = told(tmp_path / "out")
    assert goes_on == "training tiny goes on after step 3 of 6"
    assert threads.startswith("training tiny computes with threads 1 before, 2 now: from here on results may differ")


@pytest.mark.slow
def test_a_disk_without_room_for_checkpoints_is_said_and_ends_nothing(tmp_path: Path, small_disk: Path) -> None:
    whole, cramped = job(tmp_path / "whole"), job(tmp_path / "cramped")
    cramped.folder.mkdir()
    cramped.checkpoints.symlink_to(small_disk)
    finished(cramped)
    finished(whole)
    assert_same_end(cramped.folder, whole.folder)
    sentence = told(cramped.folder)[0]
    assert sentence.startswith("training tiny goes on without a checkpoint of step 2: cannot write ")
    assert "No space left on device" in sentence


def test_a_training_that_is_not_interrupted_says_nothing_and_keeps_no_checkpoint(tmp_path: Path) -> None:
    finished(job(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best", "last", "metrics.jsonl"]
