"""The command line: what it says and the status it ends with, without running a training."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipelines.cli import app
from pipelines.config.loading import load_config, save_config
from pipelines.run.locks import BASE_LOCK

ROOT = Path(__file__).parent.parent.parent
QUICKSTART = "configs/quickstart.yaml"
COMMANDS = (
    "world",
    "data",
    "sft",
    "reward",
    "reference",
    "preview",
    "align",
    "resume",
    "evaluate",
    "report",
    "score",
    "best-of-k",
    "export-rewards",
    "generate",
    "quickstart",
    "chain",
    "sweep",
    "config",
)


def run(*words: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, list(words))
    return result.exit_code, result.stdout, result.stderr


def test_help_groups_the_commands_by_stage() -> None:
    status, shown, _ = run("--help")
    assert status == 0
    stages = ["1. Data", "2. Train", "3. References", "4. Align", "5. Look at it", "Whole chain", "Tools"]
    assert [shown.index(stage) for stage in stages] == sorted(shown.index(stage) for stage in stages)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str) -> None:
    status, shown, _ = run(command, "--help")
    assert status == 0
    assert "Usage" in shown


def test_version() -> None:
    assert run("--version")[:2] == (0, "allgood 0.1.0\n")


def test_config_prints_a_run_file_that_loads_to_the_same_config(tmp_path: Path) -> None:
    status, shown, _ = run("config", QUICKSTART, "kl.coefficient=0.2")
    assert status == 0
    (tmp_path / "resolved.yaml").write_text(shown)
    assert load_config(tmp_path / "resolved.yaml") == load_config(Path(QUICKSTART), ["kl.coefficient=0.2"])


def test_schema_is_json() -> None:
    status, shown, _ = run("config", "--schema")
    assert status == 0
    assert "kl" in json.loads(shown)["properties"]


@pytest.mark.parametrize("command", [c for c in COMMANDS if c not in ("resume", "report", "generate", "sweep")])
def test_every_command_refuses_a_wrong_key_in_one_line_with_status_2(command: str) -> None:
    needed = ["--input", "absent.jsonl", "--output", "absent.parquet"] if command == "score" else []
    status, shown, errors = run(command, QUICKSTART, "kl.coeficient=1", *needed)
    assert status == 2
    assert shown == ""
    assert errors.startswith(
        "error: override `kl.coeficient=1`: unknown key `kl.coeficient`; did you mean `kl.coefficient`?"
    )
    assert len(errors.splitlines()) == 1


@pytest.mark.parametrize("command", ["resume", "report", "generate"])
def test_a_folder_without_a_run_is_refused_by_name(command: str, tmp_path: Path) -> None:
    status, _, errors = run(command, str(tmp_path / "nothing"))
    assert status == 2
    assert errors.startswith("error: ")
    assert "nothing" in errors


def test_an_unknown_property_is_refused_with_the_known_ones() -> None:
    status, _, errors = run("reward", QUICKSTART, "helpfull")
    assert status == 2
    assert errors == "error: there is no property 'helpfull'; properties of this run: helpful, harmless\n"


def test_a_run_without_a_model_to_train_says_so() -> None:
    given = [f"properties.{name}.model=./finished/classifier" for name in ("helpful", "harmless")]
    code, out, _ = run("reward", "configs/quickstart.yaml", *given)
    assert (code, out) == (0, "nothing to do: no property of this run has a reward model that is trained here\n")
    code, out, _ = run("reward", "configs/quickstart.yaml", "--held-out")
    assert (code, out) == (0, "nothing to do: no property of this run has a held-out `evaluator`\n")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--candidates", "a.jsonl", "--splits", "test"], "--splits chooses among the run's cached samples"),
        (["--references", "answers"], "--references is for --candidates"),
        (["--min-utility", "nan"], "--min-utility nan is not finite"),
        (["--min-utility", "-inf"], "--min-utility -inf is not finite"),
        (["--splits", "validation, validation"], "the split 'validation' is named more than once"),
    ],
)
def test_best_of_k_refuses_options_that_cannot_be(words: list[str], sentence: str) -> None:
    status, _, errors = run("best-of-k", QUICKSTART, *words)
    assert status == 2
    assert errors.startswith(f"error: {sentence}")


def test_config_without_a_file_says_what_to_give() -> None:
    assert run("config") == (2, "", "error: give a run file, or --schema\n")


def test_an_unknown_stage_is_refused_with_the_known_ones() -> None:
    status, _, errors = run("chain", QUICKSTART, "--from", "algin")
    assert status == 2
    assert "there is no stage 'algin'; stages of this run: world, data, sft, reward-helpful" in errors


def test_a_defect_of_ours_shows_its_traceback() -> None:
    code = (
        "import pipelines.config.loading as loading, sys\n"
        "def broken(*_): raise RuntimeError('a defect')\n"
        "loading.load_config = broken\n"
        "sys.argv = ['allgood', 'config', 'x.yaml']\n"
        "from pipelines.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 1
    assert "RuntimeError: a defect" in done.stderr
    assert "Traceback" in done.stderr


def test_functions_of_a_run_file_may_lie_where_the_command_runs(tmp_path: Path) -> None:
    (tmp_path / "my_rewards.py").write_text("found = True\n")
    script = tmp_path / "bin" / "allgood"  # the first entry of sys.path is the script's folder, not the current one
    script.parent.mkdir()
    script.write_text(
        "import sys\n"
        "from pipelines.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "import my_rewards; print(my_rewards.found)\n"
    )
    done = subprocess.run(
        [sys.executable, str(script), "--version"],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.stdout.splitlines()[-1] == "True"


def test_the_threads_of_a_run_hold_for_the_command_itself() -> None:
    code = (
        "from pathlib import Path\n"
        "from pipelines.cli import _load\n"
        f"_load(Path({QUICKSTART!r}), ['threads=3'])\n"
        "import torch; print(torch.get_num_threads())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert int(done.stdout) == 3


def test_interrupting_a_command_ends_with_one_line_status_130_and_nothing_half_written(tmp_path: Path) -> None:
    words = ["world", QUICKSTART, f"output_dir={tmp_path}", "world.pairs_per_prompt=2000"]
    process = subprocess.Popen(
        [sys.executable, "-m", "allgood", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        # Whoever started the tests in the background may have them ignore Ctrl-C; a child would inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    while process.poll() is None and not list(tmp_path.rglob(".*.tmp-*")):  # it is at work
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert errors.splitlines()[-1] == "interrupted: nothing half-written is left; run the command again"
    assert "Traceback" not in errors
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [BASE_LOCK]


@pytest.mark.parametrize("command", ["preview", "evaluate"])
def test_a_run_that_was_moved_is_looked_at_where_it_lies(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_config(load_config(Path(QUICKSTART)), tmp_path / "moved" / "config.yaml")
    monkeypatch.chdir(tmp_path)
    status, _, errors = run(command, "moved")
    assert status != 0
    assert "moved" in errors
    assert "runs/quickstart" not in errors
