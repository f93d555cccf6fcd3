"""Who may write where: one writer per folder, many readers of a base, and no lock that outlives its process."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from allgood.errors import AllgoodError, ConfigError
from pipelines.cli import main
from pipelines.config.loading import save_config
from pipelines.config.run import RunConfig
from pipelines.run.locks import BASE_LOCK, making_base, reading_base, writing_pages, writing_results
from tests.pipelines.tiny_run import make_base, tiny_config


@contextmanager
def other_process(path: Path, what: str | None) -> Iterator[None]:
    """What another process does that runs `what`, or with None reads."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_SH if what is None else fcntl.LOCK_EX)  # belongs to the open file
        file.truncate(0)
        if what is not None:
            json.dump({"what": what, "pid": 12, "host": "far", "since": 0.0}, file)
            file.flush()
        yield
        file.truncate(0)


def refusal(folder: Path, what: str) -> str:
    with pytest.raises(ConfigError) as error, making_base(folder, what):
        pass
    return str(error.value)


def test_a_second_writer_is_refused_with_what_runs_where(tmp_path: Path) -> None:
    with other_process(tmp_path / BASE_LOCK, "sft"):
        message = refusal(tmp_path, "reward")
    assert message.startswith(f"{tmp_path} is in use: `allgood sft` runs there since 1970-01-01 ")
    assert message.endswith("(process 12 on far); wait for it, or end it, before `allgood reward`")
    with making_base(tmp_path, "reward"):
        pass


def test_many_read_a_base_and_nobody_changes_it_meanwhile(tmp_path: Path) -> None:
    with other_process(tmp_path / BASE_LOCK, None), reading_base(tmp_path, "align"):
        assert "is being read by other processes" in refusal(tmp_path, "sft")
    with (
        other_process(tmp_path / BASE_LOCK, "sft"),
        pytest.raises(ConfigError, match="`allgood sft` runs there"),
        reading_base(tmp_path, "align"),
    ):
        pass


def test_stages_of_a_chain_do_not_wait_for_their_own_chain(tmp_path: Path) -> None:
    with making_base(tmp_path, "chain"), writing_results(tmp_path, "chain"):
        with reading_base(tmp_path, "align"), writing_results(tmp_path, "align"), writing_pages(tmp_path, "report"):
            pass
        locked = tmp_path / BASE_LOCK
        with locked.open() as file, pytest.raises(BlockingIOError):  # still held for the chain
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    with locked.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_two_blocks_of_one_process_may_end_in_any_order(tmp_path: Path) -> None:
    with ExitStack() as first, ExitStack() as second:
        first.enter_context(reading_base(tmp_path, "align"))
        second.enter_context(reading_base(tmp_path, "align"))
        first.close()
        with (tmp_path / BASE_LOCK).open() as file, pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_lock_of_a_dead_process_does_not_block(tmp_path: Path) -> None:
    program = (
        "import os, signal; from pathlib import Path; from pipelines.run.locks import making_base\n"
        f"with making_base(Path({str(tmp_path)!r}), 'sft'): os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -9
    assert "sft" in (tmp_path / BASE_LOCK).read_text()  # what it has left
    with reading_base(tmp_path, "align"):
        assert "being read" in _refused_elsewhere(tmp_path)


def _refused_elsewhere(folder: Path) -> str:
    program = (
        "from pathlib import Path; from pipelines.run.locks import making_base\n"
        f"with making_base(Path({str(folder)!r}), 'sft'): pass"
    )
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False).stderr


def test_a_base_that_is_not_there_or_only_read_is_read_without_a_lock(tmp_path: Path) -> None:
    with reading_base(tmp_path / "absent", "align"):
        assert not (tmp_path / "absent").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(AllgoodError, match="cannot write"), making_base(tmp_path / "file" / "run", "sft"):
        pass


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    """A run that is its own base."""
    folder = tmp_path_factory.mktemp("locks")
    make_base(folder)
    liked = {"kind": "model", "train": {"backbone": "./encoder"}}
    config = tiny_config(folder, "base", output_dir=folder, base=None, properties={"short": liked})
    save_config(config, config.folder / "config.yaml")
    return config


@pytest.mark.parametrize(
    ("command", "lock"),
    [
        (["data"], ".base.lock"),
        (["sft"], ".base.lock"),
        (["reward"], ".base.lock"),
        (["reward", "--probe"], ".base.lock"),
        (["reference"], ".base.lock"),
        (["align"], ".base.lock"),
        (["chain"], ".base.lock"),
        (["chain", "--from", "align"], ".run.lock"),
        (["preview"], ".base.lock"),
        (["report"], ".pages.lock"),
    ],
)
def test_every_command_that_writes_is_refused_while_another_one_does(
    run: RunConfig,
    command: list[str],
    lock: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    target = str(run.folder if command == ["report"] else run.folder / "config.yaml")
    monkeypatch.setattr(sys, "argv", ["allgood", command[0], target, *command[1:]])
    with other_process(run.folder / lock, "sft"), pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == os.EX_TEMPFAIL == 75  # so that a job can tell it from a mistake of its run file
    assert f"{run.folder} is in use: `allgood sft` runs there" in capsys.readouterr().err
