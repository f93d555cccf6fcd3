"""kill -9 of a driver, then the loss of its disk: the copy in an object store brings the run to the same end."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from actors.cluster.cast import Cast
from allgood.errors import StorageError
from pipelines.alignment.align import resume, run_align
from pipelines.alignment.bring_back import bring_back
from pipelines.alignment.loop import Step
from pipelines.alignment.watching import Watch
from pipelines.config.run import RunConfig
from pipelines.output.checkpoint_folders import committed_steps
from pipelines.run.folder import RunFolder
from pipelines.storage.checkpoints import stored_checkpoints
from pipelines.storage.place import open_place
from tests.faults.drivers import num_steps
from tests.faults.storage_driver import kept_config
from tests.object_store import ObjectStore, object_store
from tests.pipelines.tiny_run import assert_same_run

pytestmark = pytest.mark.faults

START_LIMIT_S = 900.0  # of a process with a Ray of its own, on a busy machine


@pytest.fixture(scope="module")
def store() -> Iterator[ObjectStore]:
    with object_store() as store:
        yield store


@pytest.fixture(scope="module")
def folder(whole: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a copy of the base, which gets lost. `whole` has no copy in a store."""
    folder = tmp_path_factory.mktemp("storage")
    shutil.copytree(whole.output_dir.parent / "base", folder / "base")
    return folder


def killed_run(folder: Path, name: str, storage: str, after: int) -> RunConfig:
    config = kept_config(folder, name, storage)
    command = [sys.executable, "-m", "tests.faults.storage_driver", str(folder), name, storage]
    with (folder / f"{name}.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        deadline = time.monotonic() + START_LIMIT_S
        while process.poll() is None and num_steps(config.folder) < after and time.monotonic() < deadline:
            time.sleep(0.002)
        os.kill(process.pid, signal.SIGKILL)
        process.wait(timeout=60.0)
    assert num_steps(config.folder) >= after, (folder / f"{name}.log").read_text()[-3000:]
    assert process.returncode == -signal.SIGKILL, (folder / f"{name}.log").read_text()[-3000:]
    return config


def assert_same_end(config: RunConfig, whole: RunConfig) -> None:
    assert_same_run(config, whole)
    samples, groups = (
        [getattr(RunFolder(one.folder), log) for one in (config, whole)] for log in ("samples", "groups")
    )
    assert pq.read_table(samples[0]).equals(pq.read_table(samples[1]))
    assert groups[0].read_bytes() == groups[1].read_bytes()


def test_a_store_that_goes_away_ends_the_run_which_then_goes_on(
    folder: Path, tiny_cast: Cast, whole: RunConfig, store: ObjectStore, capsys: pytest.CaptureFixture[str]
) -> None:
    config = kept_config(folder, "cut-off", f"{store.url}/project")

    def cut_off(step: Step) -> None:
        if step.state.step == 9:
            store.stop()

    try:
        with pytest.raises(StorageError, match=r"cannot list s3://runs/project/cut-off/lease/ \(Could not connect"):
            run_align(config, tiny_cast, watch=Watch(None, cut_off))
    finally:
        store.start()
    said = capsys.readouterr()
    assert f"step_000010 is complete and `allgood resume {config.folder}` continues from it" in said.out + said.err
    resume(config.folder, tiny_cast)
    assert_same_end(config, whole)
    kept = stored_checkpoints(open_place(f"{store.url}/project/cut-off"))
    assert {checkpoint.step for checkpoint in kept} == set(committed_steps(RunFolder(config.folder).checkpoints))


def test_a_run_whose_driver_and_disk_are_lost_ends_with_the_same_bits(
    folder: Path, whole: RunConfig, store: ObjectStore, capsys: pytest.CaptureFixture[str]
) -> None:
    """With actors of its own, which read what was brought back."""
    storage = f"{store.url}/project"
    config = killed_run(folder, "lost", storage, after=9)
    shutil.rmtree(config.folder)
    shutil.move(folder / "base", folder / "elsewhere")  # what it was begun with is lost too
    assert bring_back(f"{storage}/lost") == config.folder
    resume(config.folder)
    said = capsys.readouterr()
    assert f"brought the checkpoint after step 8 here, from {storage}/lost" in said.out + said.err
    assert_same_end(config, whole)
