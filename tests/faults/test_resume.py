"""kill -9 of the driver at any moment, then resume: the same final weights and metrics as without the kill."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import ray
from ray.util import placement_group_table

from actors.cluster.cast import Cast
from allgood.errors import CheckpointError
from pipelines.alignment.align import resume, run_align
from pipelines.config.run import RunConfig
from tests.faults.align_driver import long_config
from tests.faults.drivers import ORPHAN_LIMIT_S, killed_run, num_steps, pids_in
from tests.faults.kills import wait_until_gone
from tests.pipelines.tiny_run import assert_same_run, cast_on_base, make_base, without_wall_clock

pytestmark = pytest.mark.faults


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("resume")
    make_base(folder)
    return folder


@pytest.fixture(scope="module")
def cast(folder: Path, ray_cluster: None) -> Iterator[Cast]:
    """Actors of this process, which runs and resumes what the killed processes left."""
    with cast_on_base(long_config(folder, "base")) as cast:
        yield cast


@pytest.fixture(scope="module")
def whole(folder: Path, cast: Cast) -> RunConfig:
    """The run that nobody interrupts."""
    config = long_config(folder, "whole")
    run_align(config, cast)
    return config


def assert_same_end(config: RunConfig, whole: RunConfig) -> None:
    assert_same_run(config, whole)
    assert pq.read_table(config.folder / "samples.parquet").equals(pq.read_table(whole.folder / "samples.parquet"))


def test_a_run_killed_at_a_random_moment_ends_with_the_same_weights(folder: Path, cast: Cast, whole: RunConfig) -> None:
    seed = random.randrange(1000)
    last = random.Random(seed).randrange(3, 22)
    config = killed_run(folder, f"random-{seed}", lambda config: num_steps(config.folder) >= last)
    resume(config.folder, cast)
    assert_same_end(config, whole)


def test_a_run_killed_in_the_middle_of_a_save_ends_with_the_same_weights(
    folder: Path, cast: Cast, whole: RunConfig
) -> None:
    def saving(config: RunConfig) -> bool:
        return num_steps(config.folder) >= 6 and any((config.folder / "checkpoints").glob(".step_*.tmp-*/learner/*"))

    config = killed_run(folder, "saving", saving)
    resume(config.folder, cast)
    assert_same_end(config, whole)
    assert not list((config.folder / "checkpoints").glob(".*"))


def test_ctrl_c_says_how_to_go_on_and_leaves_nothing_half_written(folder: Path, cast: Cast, whole: RunConfig) -> None:
    config = killed_run(folder, "interrupted", lambda config: num_steps(config.folder) >= 7, by=signal.SIGINT)
    assert f"`allgood resume {config.folder}` continues from it" in (folder / "interrupted.log").read_text()
    assert not [path for path in config.folder.rglob("*") if ".tmp-" in path.name]
    resume(config.folder, cast)
    assert_same_end(config, whole)


@pytest.mark.parametrize("whole_group", [False, True])
def test_sigterm_commits_what_is_done_and_ends_with_a_sentence(
    folder: Path, cast: Cast, whole: RunConfig, whole_group: bool
) -> None:
    name = f"terminated-{whole_group}"
    config = killed_run(
        folder,
        name,
        lambda config: num_steps(config.folder) >= 7,
        by=signal.SIGTERM,
        whole_group=whole_group,
        statuses=(143, 1) if whole_group else (143,),  # Ray ends a driver whose raylet has gone, with 1
    )
    said = (folder / f"{name}.log").read_text()
    assert f"asked to end (SIGTERM): the running update has 20 s to finish; `allgood resume {config.folder}`" in said
    assert "Traceback" not in said
    if whole_group:  # Ray's own processes have heard it too, so that the update may not have been finished
        assert num_steps(config.folder) >= 7
    else:
        assert (
            f"checkpoints/step_{num_steps(config.folder):06d} is complete and `allgood resume {config.folder}`" in said
        )
    assert "*** SIGTERM" not in said
    resume(config.folder, cast)
    assert_same_end(config, whole)


def test_sigterm_with_steps_made_ahead_resumes_to_the_same_bits(folder: Path, cast: Cast) -> None:
    whole = long_config(folder, "whole-ahead", 1)
    run_align(whole, cast)
    config = killed_run(
        folder,
        "terminated-ahead",
        lambda config: num_steps(config.folder) >= 7,
        staleness=1,
        by=signal.SIGTERM,
        statuses=(143,),
    )
    stopped = num_steps(config.folder)
    ahead = config.folder / "checkpoints" / f"step_{stopped:06d}" / "ahead"
    assert 7 <= stopped < 24
    assert (ahead / f"step_{stopped:06d}.safetensors").is_file()
    resume(config.folder, cast)
    assert_same_end(config, whole)


def test_a_cluster_that_lives_on_keeps_nothing_of_a_driver_that_was_killed(
    folder: Path, cast: Cast, whole: RunConfig
) -> None:
    before, held = groups_in_use(), list[set[str]]()

    def working(config: RunConfig) -> bool:
        if num_steps(config.folder) >= 3:
            held.append(groups_in_use() - before)
        return bool(held)

    config = killed_run(folder, "joined", working, address=ray.get_runtime_context().gcs_address)
    died = time.monotonic()
    actors = pids_in(folder / "joined.log")
    assert (len(held[0]), len(actors)) == (1, 5)
    wait_until_gone(actors, ORPHAN_LIMIT_S)
    while groups_in_use() != before:
        assert time.monotonic() < died + ORPHAN_LIMIT_S, placement_group_table()
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
    run_align(config, cast)
    weights = config.folder / "checkpoints" / "step_000024" / "learner" / "weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    (config.folder / "summary.json").unlink()  # as if it had been killed before its end
    resume(config.folder, cast)
    said = capsys.readouterr()
    assert "step_000024/learner/weights.safetensors is damaged" in said.out + said.err
    assert_same_end(config, whole)


def test_a_finished_run_resumed_is_the_same_run(folder: Path, cast: Cast, whole: RunConfig) -> None:
    before = without_wall_clock(whole)
    resume(whole.folder, cast)
    assert without_wall_clock(whole) == before


def test_a_changed_config_is_refused(folder: Path, cast: Cast, whole: RunConfig) -> None:
    path = whole.folder / "config.yaml"
    content = path.read_text()
    path.write_text(content.replace("missing_eos_penalty: 0.0", "missing_eos_penalty: 0.5"))
    try:
        with pytest.raises(CheckpointError, match="another config"):
            resume(whole.folder, cast)
    finally:
        path.write_text(content)
