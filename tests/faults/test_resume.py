"""kill -9 of the driver at any moment, then resume: the same final weights and metrics as without the kill."""

from __future__ import annotations

import random
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import ray
from ray.util import placement_group_table

from actors.cluster.cast import Cast
from allgood.errors import CheckpointError
from pipelines.alignment.align import resume, run_align
from pipelines.config.run import RunConfig
from tests.faults.align_driver import NUM_STEPS, long_config
from tests.faults.drivers import ORPHAN_LIMIT_S, killed_run, num_steps, pids_in
from tests.faults.kills import wait_until_gone
from tests.patience import patient
from tests.pipelines.tiny_run import assert_same_run

pytestmark = pytest.mark.faults


@pytest.fixture(scope="module")
def folder(whole: RunConfig) -> Path:
    return whole.output_dir.parent


@pytest.fixture(scope="module")
def cast(tiny_cast: Cast) -> Cast:
    """Actors of this process, which run and resume what the killed processes left."""
    return tiny_cast


def assert_same_end(config: RunConfig, whole: RunConfig) -> None:
    assert_same_run(config, whole)
    assert pq.read_table(config.folder / "samples.parquet").equals(pq.read_table(whole.folder / "samples.parquet"))


def test_a_run_killed_in_the_middle_of_a_save_ends_with_the_same_weights(
    folder: Path, cast: Cast, whole: RunConfig
) -> None:
    def saving(config: RunConfig) -> bool:
        return num_steps(config.folder) >= 6 and any((config.folder / "checkpoints").glob(".step_*.tmp-*/learner/*"))

    config = killed_run(folder, "saving", saving)
    assert (
        "error: the command ended without a word, as when it is killed or memory runs out: "
        f"the last checkpoint of {config.folder} stands, and `allgood resume {config.folder}` continues from it\n"
    ) in (folder / "saving.log").read_text()
    resume(config.folder, cast)
    assert_same_end(config, whole)
    assert not list((config.folder / "checkpoints").glob(".*"))


def test_ctrl_c_says_how_to_go_on_and_leaves_nothing_half_written(folder: Path, cast: Cast, whole: RunConfig) -> None:
    config = killed_run(folder, "interrupted", lambda config: num_steps(config.folder) >= 7, by=signal.SIGINT)
    assert f"`allgood resume {config.folder}` continues from it" in (folder / "interrupted.log").read_text()
    assert not [path for path in config.folder.rglob("*") if ".tmp-" in path.name]
    resume(config.folder, cast)
    assert_same_end(config, whole)


def test_sigterm_to_the_driver_commits_what_is_done_and_the_steps_made_ahead(folder: Path, cast: Cast) -> None:
    whole = long_config(folder, "whole-ahead", 1)
    run_align(whole, cast)
    config, said = terminated(folder, "terminated-ahead", staleness=1, statuses=(143,))
    stopped = num_steps(config.folder)
    assert 7 <= stopped < NUM_STEPS
    assert f"checkpoints/step_{stopped:06d} is complete and `allgood resume {config.folder}`" in said
    assert (
        config.folder / "checkpoints" / f"step_{stopped:06d}" / "ahead" / f"step_{stopped:06d}.safetensors"
    ).is_file()
    resume(config.folder, cast)
    assert_same_end(config, whole)


def test_sigterm_to_the_process_group_ends_with_a_sentence_and_the_run_can_be_resumed(
    folder: Path, cast: Cast, whole: RunConfig
) -> None:
    """Ray's own processes hear it too: the update may not be finished, and a driver without a raylet ends with 1."""
    config, _ = terminated(folder, "terminated-group", whole_group=True, statuses=(143, 1))
    assert num_steps(config.folder) >= 7
    resume(config.folder, cast)
    assert_same_end(config, whole)


def terminated(folder: Path, name: str, **how: Any) -> tuple[RunConfig, str]:
    """A run that gets SIGTERM after its seventh step, and what it says."""
    config = killed_run(folder, name, lambda config: num_steps(config.folder) >= 7, by=signal.SIGTERM, **how)
    said = (folder / f"{name}.log").read_text()
    assert f"asked to end (SIGTERM): the running update has 20 s to finish; `allgood resume {config.folder}`" in said
    assert "Traceback" not in said
    assert "*** SIGTERM" not in said
    return config, said


def test_a_run_killed_at_a_random_step_leaves_nothing_in_its_cluster_and_ends_with_the_same_weights(
    folder: Path, cast: Cast, whole: RunConfig
) -> None:
    before, held = groups_in_use(), list[set[str]]()
    last = random.randrange(3, NUM_STEPS - 1)

    def working(config: RunConfig) -> bool:
        if num_steps(config.folder) >= last:
            held.append(groups_in_use() - before)
        return bool(held)

    name = f"killed-at-{last}"
    config = killed_run(folder, name, working, address=ray.get_runtime_context().gcs_address)
    died = time.monotonic()
    actors = pids_in(folder / f"{name}.log")
    assert (len(held[0]), len(actors)) == (1, 5)
    wait_until_gone(actors, ORPHAN_LIMIT_S)
    while groups_in_use() != before:
        assert time.monotonic() < died + patient(ORPHAN_LIMIT_S), placement_group_table()
        time.sleep(0.1)
    resume(config.folder, cast)
    assert_same_end(config, whole)


def groups_in_use() -> set[str]:
    """Placement groups of the cluster that hold resources, or wait for some."""
    return {name for name, group in placement_group_table().items() if group["state"] != "REMOVED"}


def test_a_damaged_last_checkpoint_is_passed_over(
    folder: Path, cast: Cast, whole: RunConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    config = long_config(folder, "damaged")
    copy_of(whole, config)
    last = f"checkpoints/step_{NUM_STEPS:06d}/learner/weights.safetensors"
    content = bytearray((config.folder / last).read_bytes())
    content[-1] ^= 1
    (config.folder / last).write_bytes(content)
    (config.folder / "summary.json").unlink()  # as if it had been killed before its end
    shutil.rmtree(config.folder / "model")
    resume(config.folder, cast)
    said = capsys.readouterr()
    assert f"{last.removeprefix('checkpoints/')} is damaged" in said.out + said.err
    assert_same_end(config, whole)


def copy_of(run: RunConfig, config: RunConfig) -> None:
    """Lay a finished run where another one of the same settings would be."""
    shutil.copytree(run.folder, config.folder)
    path = config.folder / "config.yaml"
    path.write_text(path.read_text().replace(f"name: {run.name}\n", f"name: {config.name}\n"))


def test_a_finished_run_resumed_is_the_same_run(folder: Path, cast: Cast, whole: RunConfig) -> None:
    config = long_config(folder, "finished")
    copy_of(whole, config)
    resume(config.folder, cast)
    assert_same_end(config, whole)


def test_a_changed_config_is_refused(folder: Path, cast: Cast, whole: RunConfig) -> None:
    config = long_config(folder, "changed")
    copy_of(whole, config)
    path = config.folder / "config.yaml"
    path.write_text(path.read_text().replace("missing_eos_penalty: 0.0", "missing_eos_penalty: 0.5"))
    with pytest.raises(CheckpointError, match="another config"):
        resume(config.folder, cast)
