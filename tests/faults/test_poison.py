"""What a run is given fails: rewards that raise, miscount or go away, a full disk, the same job a second time.

What is lost is counted, and the rest has the same bits.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from actors.cluster.cast import Cast, CastRequest, spawn
from actors.cluster.pool import Actors
from allgood.errors import AllgoodError, TrainingError
from pipelines.alignment.align import resume, run_align
from pipelines.alignment.loop import Step
from pipelines.alignment.watching import Watch
from pipelines.cast.actors import SharedActors
from pipelines.cast.request import reward_parts
from pipelines.config.run import RunConfig
from pipelines.references.build import build_references
from tests.pipelines.tiny_run import (
    assert_same_run,
    final_weights,
    logged_rows,
    make_base,
    tiny_config,
    without_wall_clock,
)
from tests.reward_server import RewardServer, reward_server

pytestmark = pytest.mark.faults

SCORERS = ("short", "flaky", "patchy", "raising")


@pytest.fixture(scope="module")
def server() -> Iterator[RewardServer]:
    with reward_server() as running:
        yield running


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("poison")
    make_base(folder)
    return folder


class WithMoreScorers(SharedActors):
    """All actors of the shared cast, and the scorers of its own."""

    @property
    def scorers(self) -> list[str]:
        return [*self.shared.scorers, *self.own.scorers]

    def _owner(self, role: str) -> Actors:
        return self.own if role.removeprefix("reward.") in self.own.scorers else self.shared


@pytest.fixture(scope="module")
def cast(folder: Path, server: RewardServer, tiny_cast: Cast) -> Iterator[Actors]:
    """The tiny run's actors, and scorers that it has not."""
    config = run_of(folder, "base", *SCORERS, "served", server=server)
    missing = {name: part for name, part in reward_parts(config).items() if name not in tiny_cast.scorers}
    with spawn(CastRequest(rewards=missing, timeout_s=config.placement.timeout_s)) as more:
        actors = WithMoreScorers(own=more, shared=tiny_cast)
        build_references(config, actors)
        yield actors


def run_of(folder: Path, name: str, *scorers: str, server: RewardServer, **align: Any) -> RunConfig:
    functions = {
        scorer: {
            "kind": "function",
            "function": f"tests.pipelines.tiny_rewards:{scorer}",
            "zero_is_a_score": True,
            "placement": {"cpus": 0.1},
        }
        for scorer in SCORERS
    }
    served = {
        "kind": "http",
        "model": "judge",
        "dialect": "vllm_classify",
        "template": "none",
        "server": {"url": server.at("/classify"), "deadline_s": 5.0},
        "placement": {"cpus": 0.1},
    }
    properties = {**functions, "served": served}
    config = tiny_config(folder, name, properties={scorer: properties[scorer] for scorer in scorers})
    # One response in twelve fails; the limit of 10 % is for steps of hundreds of them, not of 32.
    changes = {"steps": 2, "samples_per_prompt": 8, "evaluate_every": 2, "max_nan_share": 0.5} | align
    return config.model_copy(update={"align": config.align.model_copy(update=changes)})


@pytest.fixture(scope="module")
def whole(folder: Path, cast: Actors, server: RewardServer) -> RunConfig:
    """The run that nothing happens to."""
    config = run_of(folder, "whole", "short", "served", server=server, steps=4, checkpoint_every=2)
    run_align(config, cast)
    return config


def beside(whole: RunConfig, name: str, **changes: Any) -> RunConfig:
    return whole.model_copy(update={"name": name, **changes})


def assert_same_but_for_the_name(first: RunConfig, second: RunConfig) -> None:
    """Runs on one property each, which have other names for it."""
    ((one,), (other,)) = (config.properties for config in (first, second))
    rows = [{key.replace(f".{other}", f".{one}"): row[key] for key in row} for row in without_wall_clock(second)]
    assert without_wall_clock(first) == rows
    weights = final_weights(second)
    assert all(value.equal(weights[name]) for name, value in final_weights(first).items())


def faults_of(config: RunConfig) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (config.folder / "faults.jsonl").read_text().splitlines()]


def test_a_reward_that_raises_or_miscounts_costs_the_same_samples_as_one_that_says_nan(
    folder: Path, cast: Actors, server: RewardServer, capsys: pytest.CaptureFixture[str]
) -> None:
    patchy, raising = (run_of(folder, name, name, server=server) for name in ("patchy", "raising"))
    run_align(patchy, cast)
    run_align(raising, cast)
    assert_same_but_for_the_name(patchy, raising)
    rows = logged_rows(raising)
    assert sum(row["num_failed_scores.raising"] for row in rows) > 0
    assert all(row["num_dropped_samples"] == row["num_failed_scores.raising"] for row in rows)
    assert sum(row["ops.retries"] for row in rows) == len(faults_of(raising)) > 0
    said = capsys.readouterr().out
    assert said.count("responses have no reward of property raising") == 1
    assert "'tests.pipelines.tiny_rewards:raising' failed on 1 responses: ZeroDivisionError('no reward')" in said


def test_a_reward_that_comes_at_the_second_try_changes_nothing(
    folder: Path, cast: Actors, server: RewardServer
) -> None:
    steady, flaky = (run_of(folder, name, name, server=server) for name in ("short", "flaky"))
    run_align(steady, cast)
    run_align(flaky, cast)
    assert_same_but_for_the_name(steady, flaky)
    assert all(row["ops.retries"] >= 2 for row in logged_rows(flaky))  # two chunks a step
    assert {fault["role"] for fault in faults_of(flaky)} == {"reward.flaky"}
    assert all("TimeoutError('not now')" in fault["reason"] for fault in faults_of(flaky))


def test_a_reward_model_that_goes_away_ends_the_run_which_goes_on_when_it_is_back(
    whole: RunConfig, cast: Actors, server: RewardServer, capsys: pytest.CaptureFixture[str]
) -> None:
    config = beside(whole, "away")

    def go_away(step: Step) -> None:
        if step.state.step == 3:  # a checkpoint is taken after every second step
            server.failures = [503] * 10_000

    with pytest.raises(TrainingError, match=r"step 3: 100% of the scores of property served .* gave no answer in 5 s"):
        run_align(config, cast, watch=Watch(None, go_away))
    server.failures = []
    assert f"step_000003 is complete and `allgood resume {config.folder}` continues from it" in capsys.readouterr().out
    resume(config.folder, cast)
    assert_same_run(config, whole)


@pytest.mark.parametrize(
    ("free", "refusal"),
    [
        (0, r"the disk is full while writing .*(metrics\.jsonl|samples\.parquet); free some space"),
        (64, r"cannot write '.*step_000004.*learner.*': .*No space left on device.*; free some space"),
    ],
    ids=["log", "checkpoint"],
)
def test_a_full_disk_ends_the_run_which_goes_on_when_there_is_room(
    whole: RunConfig, cast: Actors, disk: Path, capsys: pytest.CaptureFixture[str], free: int, refusal: str
) -> None:
    config = beside(whole, "full", output_dir=disk / "runs")
    filler = disk / "filler"

    def fill(step: Step) -> None:
        if step.state.step == 3:
            leave_free(filler, free * 1024)

    with pytest.raises(AllgoodError, match=refusal):
        run_align(config, cast, watch=Watch(None, fill))
    assert f"step_000002 is complete and `allgood resume {config.folder}` continues from it" in capsys.readouterr().out
    filler.unlink()
    resume(config.folder, cast)
    assert_same_run(config, whole)
    assert not [path for path in config.folder.rglob("*") if ".tmp-" in path.name]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 32 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting needs rights that this process does not have")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def leave_free(filler: Path, num_bytes: int) -> None:
    space = os.statvfs(filler.parent)
    filler.write_bytes(bytes(space.f_bavail * space.f_frsize - num_bytes))


def test_the_same_job_a_second_time_is_refused_and_the_first_one_is_not_disturbed(
    whole: RunConfig, cast: Actors
) -> None:
    config, second = beside(whole, "twice"), list[subprocess.CompletedProcess[str]]()

    def start_again(step: Step) -> None:
        if step.state.step == 1:
            command = [sys.executable, "-m", "pipelines.cli", "resume", str(config.folder)]
            second.append(subprocess.run(command, capture_output=True, text=True, check=False, timeout=600))

    run_align(config, cast, watch=Watch(None, start_again))
    assert [tried.returncode for tried in second] == [75]
    assert f"error: {config.folder} is in use: `allgood align` runs there since" in second[0].stderr
    assert f"(process {os.getpid()} on " in second[0].stderr
    assert_same_run(config, whole)
