"""Where learners write: chosen by what they see, and refused where neither way is there."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest

from allgood.errors import PlacementError
from pipelines.alignment import learner_files as chosen
from pipelines.alignment.learner_files import OnSharedDisk, ThroughStore, learner_files
from pipelines.cast.lane import Lane
from pipelines.run.folder import RunFolder
from pipelines.storage.copy import RunCopy

COPY = cast(RunCopy, object())


class Learners:
    """The part of a lane that is asked; with `blind` learners."""

    def __init__(self, *blind: str) -> None:
        self._blind = list(blind)

    async def learners_without(self, path: Path) -> list[str]:
        assert path.is_file()
        return self._blind


def choose(folder: Path, *blind: str, copy: RunCopy | None = None) -> Any:
    return asyncio.run(learner_files(cast(Lane, Learners(*blind)), RunFolder(folder), copy))


def test_a_ray_of_this_machine_is_not_asked(tmp_path: Path) -> None:
    assert isinstance(choose(tmp_path, "learner 0 on here", copy=COPY), OnSharedDisk)


def test_learners_that_see_the_run_folder_write_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chosen, "in_joined_cluster", lambda: True)
    assert isinstance(choose(tmp_path, copy=COPY), OnSharedDisk)
    assert list(tmp_path.iterdir()) == []


def test_others_write_to_the_store_and_without_one_are_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chosen, "in_joined_cluster", lambda: True)
    blind = ("learner 0 on 10.0.0.2", "learner 1 on 10.0.0.3")
    assert isinstance(choose(tmp_path, *blind, copy=COPY), ThroughStore)
    with pytest.raises(PlacementError, match=rf"{', '.join(blind)} do not see the run folder {tmp_path}, where"):
        choose(tmp_path, *blind)
    assert list(tmp_path.iterdir()) == []
