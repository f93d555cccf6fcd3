"""A job that a cluster starts again: which commands it runs, by what an earlier try left."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.deploy.files import DEPLOY, parsed

SCRIPT = DEPLOY / "start_or_resume.sh"


def commands(folder: Path, *overrides: str, failing: str = "nothing") -> tuple[int, list[str]]:
    """The exit code of the script and the commands it gave, with a recorder in place of Python."""
    recorder, log = folder / "python", folder / "log"
    recorder.write_text(f'#!/bin/bash\necho "$@" >> {log}\n[[ $3 != {failing} ]]\n')
    recorder.chmod(0o755)
    environment = {"PYTHON": str(recorder), "PATH": "/usr/bin:/bin"}
    done = subprocess.run([SCRIPT, "run.yaml", folder / "run", *overrides], env=environment, check=False, timeout=30)
    given = log.read_text().splitlines()
    assert all(line.startswith("-m pipelines.cli ") for line in given)
    return done.returncode, [line.removeprefix("-m pipelines.cli ").replace(str(folder), "") for line in given]


def test_the_first_try_runs_everything_with_the_overrides(tmp_path: Path) -> None:
    assert commands(tmp_path, "seed=1", "align.steps=5") == (0, ["chain run.yaml seed=1 align.steps=5"])


def test_a_try_after_a_loss_goes_on_and_then_measures(tmp_path: Path) -> None:
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    assert commands(tmp_path, "seed=1") == (0, ["resume /run", "evaluate /run", "report /run"])


def test_a_try_after_a_loss_in_a_chain_does_what_is_left_of_it(tmp_path: Path) -> None:
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    (tmp_path / "run" / "unfinished.yaml").touch()
    assert commands(tmp_path, "seed=1") == (0, ["resume /run"])


def test_a_finished_alignment_is_only_measured(tmp_path: Path) -> None:
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    (tmp_path / "run" / "summary.json").touch()
    assert commands(tmp_path) == (0, ["evaluate /run", "report /run"])


@pytest.mark.parametrize("failing", ["chain", "resume", "evaluate"])
def test_a_command_that_fails_ends_the_try(tmp_path: Path, failing: str) -> None:
    if failing != "chain":
        (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    code, given = commands(tmp_path, failing=failing)
    assert code != 0
    assert given[-1].split()[0] == failing


def test_the_commands_exist() -> None:
    for command in ("resume", "evaluate", "report"):
        assert parsed([command, "runs/x"]).info_name == command
    assert parsed(["chain", "run.yaml", "seed=1"]).params["overrides"] == ["seed=1"]
