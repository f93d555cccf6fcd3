"""Every stage of a run in one W&B group: what its files hold, the offline run holds too."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from pipelines.config.run import RunConfig
from pipelines.output.metrics_log import MetricsLog
from pipelines.training.parallel import train_rewards
from pipelines.training.reward_model import train_reward
from pipelines.training.sft import train_sft
from tests.pipelines.offline_wandb import OfflineRun, offline_runs
from tests.pipelines.tiny_training import tiny_run


@pytest.fixture
def config(tmp_path: Path) -> RunConfig:
    return tiny_run(tmp_path, tracking={"wandb": "offline", "tensorboard": True})


def assert_tracked(run: OfflineRun, metrics: Path) -> None:
    """Every step of the metrics file with its numbers."""
    rows = [row for row in MetricsLog(metrics).read() if row["step"] > 0]
    assert len(rows) > 5
    assert [row["_step"] for row in run.history if "loss" in row] == [row["step"] for row in rows]
    assert [row["loss"] for row in run.history if "loss" in row] == pytest.approx([row["loss"] for row in rows])


def test_sft_and_reward_trainings_are_tracked_step_by_step_in_the_runs_group(config: RunConfig) -> None:
    sft_report = train_sft(config)
    report = train_reward(config, "helpful")
    base = config.base_folder
    runs = {run.job_type: run for run in offline_runs(base)}
    assert {run.group for run in runs.values()} == {"tiny"}
    assert_tracked(runs["sft"], base / "sft" / "metrics.jsonl")
    assert_tracked(runs["reward"], base / "reward" / "helpful" / "metrics.jsonl")
    assert runs["sft"].summary["final/validation_loss"] == pytest.approx(sft_report["validation_loss"])
    assert runs["reward"].summary["final/accuracy"] == pytest.approx(report["accuracy"])
    assert list(runs["reward"].path.parent.rglob("reliability*.png"))
    assert runs["sft"].settings["sft"]["training"]["max_steps"] == 12
    events = EventAccumulator(str(base / "tensorboard" / "reward-helpful"))
    events.Reload()
    assert len(events.Scalars("loss")) == report["num_steps"]


@pytest.mark.usefixtures("ray_cluster")
def test_trainings_side_by_side_are_tracked_by_the_process_that_started_them(config: RunConfig) -> None:
    train_sft(config, show_progress=False)
    report = train_rewards(config)["helpful"]
    (run,) = offline_runs(config.base_folder)  # the SFT training was somebody else's to track
    assert run.name == "tiny reward helpful"
    assert_tracked(run, config.base_folder / "reward" / "helpful" / "metrics.jsonl")
    assert run.summary["final/log_loss"] == pytest.approx(report["log_loss"])


def test_disabled_tracking_leaves_nothing_and_changes_no_result(tmp_path: Path) -> None:
    tracked = tiny_run(tmp_path / "tracked", tracking={"wandb": "offline"})
    silent = tiny_run(tmp_path / "silent", tracking={"wandb": "disabled"})
    losses = [train_sft(config)["validation_loss"] for config in (tracked, silent)]
    assert losses[0] == losses[1]
    assert not list(silent.base_folder.rglob("wandb"))
    assert json.loads((silent.base_folder / "sft" / "report.json").read_text())["validation_loss"] == losses[1]
