"""kill -9 of a command that trains, also in the middle of a save, then resume: the same bits as without the kill."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.chain import go_on
from pipelines.config.loading import save_config
from pipelines.config.run import RunConfig
from pipelines.run.unfinished import left_in
from pipelines.training.reward_model import reward_folder, train_reward
from pipelines.training.sft import train_sft
from tests.faults.kills import is_alive
from tests.pipelines.tiny_training import reward_training, tiny_run, training
from tests.pipelines.training.resumed import assert_same_end, rows, told

pytestmark = pytest.mark.faults

START_LIMIT_S = 900.0
NUM_STEPS = 180

Moment = Callable[[Path], bool]


def long_run(folder: Path, name: str) -> RunConfig:
    """A run whose two trainings have enough steps and evaluations to be killed in."""
    settings = {"max_steps": NUM_STEPS, "epochs": 1000, "evaluate_every": 3}
    return tiny_run(
        folder,
        name=name,
        sft={"max_tokens": 64, "training": training(**settings)},
        properties={
            "helpful": {"kind": "model", "train": reward_training(training_changes=settings), "max_tokens": 64}
        },
        tracking={"wandb": "disabled"},
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("trainings")


@pytest.fixture(scope="module")
def whole(folder: Path) -> RunConfig:
    """The run that nobody interrupts."""
    config = long_run(folder, "whole")
    train_sft(config, show_progress=False)
    train_reward(config, "helpful", show_progress=False)
    return config


def killed(config: RunConfig, command: str, trained: Path, moment: Moment, *, by: signal.Signals) -> tuple[int, str]:
    """Give a command and send it a signal as soon as `moment` says so of the training's folder; status and words."""
    file, log = config.output_dir / f"{config.name}.yaml", config.output_dir / f"{config.name}.log"
    save_config(config, file)
    with log.open("w") as words:
        process = subprocess.Popen(
            [sys.executable, "-m", "pipelines.cli", command, str(file)], stdout=words, stderr=words
        )
        deadline = time.monotonic() + START_LIMIT_S
        while not moment(trained):
            assert process.poll() is None, log.read_text()[-3000:]
            assert time.monotonic() < deadline, "the training did not get to the moment of the kill"
            time.sleep(0.0005)
        process.send_signal(by)
        status = process.wait(60.0)
    assert not is_alive(process.pid)
    return status, log.read_text()


def steps_after_a_checkpoint(trained: Path) -> bool:
    """A checkpoint is there, and steps that it does not have."""
    committed = sorted((trained / "checkpoints").glob("step_*"))
    return bool(committed) and num_steps(trained) > int(committed[-1].name.removeprefix("step_")) + 1


def saving_the_second(trained: Path) -> bool:
    """A checkpoint is there, and another one is being written."""
    checkpoints = trained / "checkpoints"
    return any(checkpoints.glob("step_*")) and any(checkpoints.glob(".step_*.tmp-*/optimizer.safetensors"))


def num_steps(trained: Path) -> int:
    log = trained / "metrics.jsonl"
    return log.read_bytes().count(b"\n") - 1 if log.exists() else 0


def test_an_sft_that_was_killed_is_resumed_to_the_same_weights(folder: Path, whole: RunConfig) -> None:
    config = long_run(folder, "sft")
    trained, other = config.folder / "sft", whole.folder / "sft"
    status, _ = killed(config, "sft", trained, steps_after_a_checkpoint, by=signal.SIGKILL)
    assert status == -signal.SIGKILL
    assert num_steps(trained) < NUM_STEPS
    left = left_in(config.folder)
    assert left is not None
    assert left.stages == ("sft",)
    go_on(left)
    assert_same_end(trained, other)
    assert [row["step"] for row in rows(trained)] == list(range(NUM_STEPS + 1))
    assert told(trained)[0].startswith("training sft goes on after step ")
    assert not (trained / "checkpoints").exists()
    assert left_in(config.folder) is None


def test_a_reward_model_killed_in_the_middle_of_a_save_ends_the_same(folder: Path, whole: RunConfig) -> None:
    config = long_run(folder, "reward")
    train_sft(config, show_progress=False)
    trained = reward_folder(config, "helpful", held_out=False)
    status, _ = killed(config, "reward", trained, saving_the_second, by=signal.SIGKILL)
    assert status == -signal.SIGKILL
    report = train_reward(config, "helpful", show_progress=False)  # the same command again
    assert_same_end(trained, reward_folder(whole, "helpful", held_out=False))
    assert "goes on after step" in told(trained)[0]
    assert report["num_steps"] == NUM_STEPS
    assert not (trained / "checkpoints").exists()


def test_sigterm_commits_the_running_step_and_says_how_to_go_on(folder: Path, whole: RunConfig) -> None:
    config = long_run(folder, "terminated")
    trained = config.folder / "sft"
    status, said = killed(config, "sft", trained, lambda trained: num_steps(trained) > 7, by=signal.SIGTERM)
    assert status == 128 + signal.SIGTERM, said[-3000:]
    assert "Traceback" not in said
    last = num_steps(trained)
    assert "asked to end (SIGTERM): the running step has 20 s to finish; the same command goes on afterwards" in said
    assert f"step_{last:06d} is complete and the same command goes on from it" in said
    train_sft(config, show_progress=False)
    assert told(trained) == [f"training sft goes on after step {last} of {NUM_STEPS}"]
    assert_same_end(trained, whole.folder / "sft")
