"""What an interrupted command has left to do is on disk while it runs, and only then."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from allgood.errors import ConfigError, InUseError, RoleError
from pipelines.config.run import RunConfig
from pipelines.run.unfinished import forget, left_in, noting
from tests.pipelines.tiny_run import tiny_config


def interrupt(config: RunConfig, error: type[BaseException]) -> None:
    with noting(config) as note:
        note(["sft"])
        raise error("the reason")


def test_a_note_is_there_until_the_last_stage_is_through(tmp_path: Path) -> None:
    config = tiny_config(tmp_path)
    with noting(config) as note:
        assert left_in(config.folder) is None
        for stages in (["sft", "align"], ["align"]):
            note(stages)
            left = left_in(config.folder)
            assert left is not None
            assert left.stages == tuple(stages)
            assert left.config == config
    assert left_in(config.folder) is None


@pytest.mark.parametrize(
    ("error", "is_left"), [(RoleError, True), (KeyboardInterrupt, True), (InUseError, True), (ConfigError, False)]
)
def test_an_interruption_leaves_the_note_and_a_mistake_of_the_configuration_does_not(
    tmp_path: Path, error: type[BaseException], is_left: bool
) -> None:
    config = tiny_config(tmp_path)
    with pytest.raises(error, match="the reason"):
        interrupt(config, error)
    assert (left_in(config.folder) is not None) == is_left
    forget(config.folder)
    assert left_in(config.folder) is None


def test_a_run_that_was_moved_goes_on_where_it_lies(tmp_path: Path) -> None:
    config = tiny_config(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        interrupt(config, KeyboardInterrupt)
    shutil.move(config.folder, tmp_path / "elsewhere" / "renamed")
    left = left_in(tmp_path / "elsewhere" / "renamed")
    assert left is not None
    assert left.config.folder == tmp_path / "elsewhere" / "renamed"


@pytest.mark.parametrize("content", ["stages: []\nconfig: {}\n", "config: {name: x}\n", "stages: [sft]\n"])
def test_a_damaged_note_is_refused_by_its_name(tmp_path: Path, content: str) -> None:
    (tmp_path / "unfinished.yaml").write_text(content)
    with pytest.raises(ConfigError, match=r"unfinished\.yaml is damaged \(it names no stages\)"):
        left_in(tmp_path)
