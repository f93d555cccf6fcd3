"""The copy of a run: what one driver keeps, another one goes on from on an empty disk."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Sequence
from pathlib import Path

import pytest

from allgood.errors import CheckpointError, ConfigError, StorageError
from pipelines.config.loading import save_config
from pipelines.config.run import RunConfig
from pipelines.output.checkpoint_folders import committed_steps, step_folder
from pipelines.output.metrics_log import MetricsLog
from pipelines.run.folder import RunFolder
from pipelines.storage.checkpoints import StoredCheckpoint, stored_checkpoints
from pipelines.storage.copy import RunCopy, check_storage, copy_of, keep_results, refuse_storage
from pipelines.storage.place import Place, open_place
from tests.pipelines.storage.test_checkpoints import local
from tests.pipelines.tiny_run import tiny_config


@pytest.fixture
def config(tmp_path: Path) -> RunConfig:
    config = tiny_config(tmp_path, storage=f"memory://{uuid.uuid4().hex}/project")
    save_config(config, config.folder / "config.yaml")
    return config


def run_of(config: RunConfig) -> Place:
    assert config.storage is not None
    return open_place(config.storage).at(config.name)


def all_steps(steps: Sequence[int]) -> set[int]:
    return set(steps)


def commit(config: RunConfig, copy: RunCopy, step: int) -> None:
    """Take the steps to the next checkpoint, and keep it."""
    folder = RunFolder(config.folder)
    first = max(committed_steps(folder.checkpoints), default=0) + 1
    for logged in range(first, step + 1):
        MetricsLog(folder.metrics).append({"step": logged})
    copy.keep_checkpoint(local(folder.checkpoints, step), step, all_steps)


def kept(config: RunConfig, *steps: int) -> None:
    with copy_of(config, "align") as copy:
        assert copy is not None
        copy.begin(config, overwrite=False)
        copy.go_on_after(None, 0)
        for step in steps:
            commit(config, copy, step)


def logged_steps(config: RunConfig) -> list[int]:
    return [row["step"] for row in MetricsLog(RunFolder(config.folder).metrics).read()]


def newest_here(config: RunConfig, *, than: int = -1) -> int:
    """The newest checkpoint here, after what is newer in the copy was brought here."""
    with copy_of(config, "resume") as copy:
        assert copy is not None
        copy.fetch_newer(than)
    return max(committed_steps(RunFolder(config.folder).checkpoints), default=0)


def damage(config: RunConfig, step: int) -> None:
    run = run_of(config)
    (name,) = [name for name in run.names() if f"step_{step:06d}" in name and name.endswith("weights.safetensors")]
    run.write(name, b"WEIGHTS")


def test_an_empty_disk_gets_the_newest_checkpoint_with_the_logs_up_to_it(config: RunConfig) -> None:
    kept(config, 2, 4)
    MetricsLog(RunFolder(config.folder).metrics).append({"step": 5})  # lost with the disk
    shutil.rmtree(config.folder)
    assert newest_here(config) == 4
    assert logged_steps(config) == [1, 2, 3, 4]


def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(
    config: RunConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    kept(config, 2, 4)
    shutil.rmtree(config.folder)
    damage(config, 4)
    assert newest_here(config) == 2
    assert logged_steps(config) == [1, 2]
    said = capsys.readouterr()
    assert "step_000004.1/learner/weights.safetensors is damaged" in said.out + said.err


def test_without_any_whole_checkpoint_the_run_does_not_start_again_by_itself(config: RunConfig) -> None:
    kept(config, 2)
    shutil.rmtree(config.folder)
    damage(config, 2)
    with pytest.raises(CheckpointError, match="every checkpoint in memory://.*is damaged"):
        newest_here(config)


def test_what_is_here_already_is_not_fetched(config: RunConfig) -> None:
    kept(config, 2, 4)
    MetricsLog(RunFolder(config.folder).metrics).append({"step": 5})
    assert newest_here(config, than=4) == 4
    assert logged_steps(config) == [1, 2, 3, 4, 5]


def test_a_checkpoint_that_is_only_here_is_written_before_the_run_goes_on(config: RunConfig) -> None:
    kept(config, 2)
    folder = RunFolder(config.folder)
    MetricsLog(folder.metrics).append({"step": 3})
    here = local(folder.checkpoints, 3)  # the driver was killed before it was kept
    with copy_of(config, "resume") as copy:
        assert copy is not None
        copy.go_on_after(here, 3)
        assert stored_checkpoints(run_of(config)) == [StoredCheckpoint(2, 1), StoredCheckpoint(3, 2)]
        commit(config, copy, 5)
    shutil.rmtree(config.folder)
    assert newest_here(config) == 5
    assert logged_steps(config) == [1, 2, 3, 4, 5]


def test_steps_that_are_taken_again_stand_in_the_logs_once(config: RunConfig) -> None:
    kept(config, 2, 4)
    folder = RunFolder(config.folder)
    shutil.rmtree(step_folder(folder.checkpoints, 4))
    MetricsLog(folder.metrics).cut_after(2)
    with copy_of(config, "resume") as copy:
        assert copy is not None
        copy.go_on_after(step_folder(folder.checkpoints, 2), 2)
        commit(config, copy, 4)
    shutil.rmtree(config.folder)
    assert newest_here(config) == 4
    assert logged_steps(config) == [1, 2, 3, 4]


def test_a_driver_that_lost_its_lease_commits_nothing(config: RunConfig) -> None:
    kept(config, 2)
    with copy_of(config, "resume") as copy:
        assert copy is not None
        copy.go_on_after(step_folder(RunFolder(config.folder).checkpoints, 2), 2)
        lease = run_of(config).read("lease/000002.json")
        assert lease is not None
        run_of(config).create("lease/000003.json", lease)  # another driver takes it over
        with pytest.raises(StorageError, match="belongs to another driver now"):
            commit(config, copy, 4)
        assert stored_checkpoints(run_of(config)) == [StoredCheckpoint(2, 1)]


def test_a_name_that_is_taken_is_refused_and_can_be_replaced(config: RunConfig) -> None:
    check_storage(config, overwrite=False)
    kept(config, 2)
    with pytest.raises(ConfigError, match="already holds an alignment; continue it with `allgood resume memory://"):
        check_storage(config, overwrite=False)
    with copy_of(config, "align") as copy:
        assert copy is not None
        with pytest.raises(ConfigError, match="already holds an alignment"):
            copy.begin(config, overwrite=False)
        copy.begin(config, overwrite=True)
    assert run_of(config).names() == ["inputs.json", "lease/000002.json"]


def test_results_come_along_and_damaged_ones_are_named(config: RunConfig, capsys: pytest.CaptureFixture[str]) -> None:
    folder = RunFolder(config.folder)
    kept(config, 2)
    folder.model.mkdir()
    (folder.model / "model.safetensors").write_bytes(b"aligned")
    folder.summary.write_text("{}")
    keep_results(config, "evaluate")
    shutil.rmtree(config.folder)
    newest_here(config)
    assert (folder.model / "model.safetensors").read_bytes() == b"aligned"
    assert folder.summary.read_text() == "{}"
    shutil.rmtree(config.folder)
    run_of(config).write("model/model.safetensors", b"ALIGNED")
    newest_here(config)
    assert not folder.summary.exists()
    said = capsys.readouterr()
    assert "model/model.safetensors is damaged (its checksum differs); results are made again" in said.out + said.err


def test_a_run_without_storage_has_no_copy(tmp_path: Path) -> None:
    config = tiny_config(tmp_path)
    check_storage(config, overwrite=False)
    refuse_storage(config, "sweep")
    with copy_of(config, "align") as copy:
        assert copy is None


def test_commands_with_many_runs_refuse_it(config: RunConfig) -> None:
    with pytest.raises(ConfigError, match="`allgood sweep` keeps no copy of its runs; leave out `storage`"):
        refuse_storage(config, "sweep")


def of_learners(folder: str) -> None:
    """What they write: the same as in a checkpoint of these tests."""
    (Path(folder) / "weights.safetensors").write_bytes(b"weights")


def test_what_learners_have_written_is_committed_as_it_is_and_found_again(config: RunConfig, tmp_path: Path) -> None:
    folder = RunFolder(config.folder)
    with copy_of(config, "align") as copy:
        assert copy is not None
        copy.begin(config, overwrite=False)
        copy.go_on_after(None, 0)
        place = copy.place_of_learners(2)
        copy.learners_wrote(2, place.written(of_learners))
        assert stored_checkpoints(run_of(config)) == []
        name = "checkpoints/step_000002.1/learner/weights.safetensors"
        run_of(config).write(name, b"WEIGHTS")  # to see that it is not written again
        commit(config, copy, 2)
        assert run_of(config).read(name) == b"WEIGHTS"
        run_of(config).write(name, b"weights")
        commit(config, copy, 4)  # these learners see the run folder
    with copy_of(config, "resume") as copy:
        assert copy is not None
        for step in (2, 4):
            here = step_folder(folder.checkpoints, step)
            copy.go_on_after(here, step)
            copy.stored_learners(here).fetch(tmp_path / str(step))
            assert (tmp_path / str(step) / "weights.safetensors").read_bytes() == b"weights"


def test_what_passes_through_the_store_does_not_stay(config: RunConfig) -> None:
    with copy_of(config, "align") as copy:
        assert copy is not None
        with copy.passing_place() as place:
            place.written(of_learners)
            assert run_of(config).at("passing").names() != []
        assert run_of(config).at("passing").names() == []
        run_of(config).write("passing/of/a-killed-driver", b"weights")
        copy.go_on_after(None, 0)
        assert run_of(config).at("passing").names() == []
