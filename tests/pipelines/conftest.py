"""What several tests of the pipelines share."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from actors.cluster.cast import Cast


@pytest.fixture(scope="session")
def tiny_cast(ray_cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cast]:
    """The actors of an alignment of the tiny run: for every test that needs no actors of its own, as they take seconds.

    All bases of `make_base` hold the same policy, so that one cast serves runs on all of them. It scores `short`,
    `vowels`, the reward model `liked` and each property of `FAILING`.
    """
    # Not at the top: pytest may read this file before it installs the checks of shapes in `allgood`.
    from actors.cluster.cast import spawn
    from pipelines.cast.request import align_request
    from tests.pipelines.tiny_run import FAILING, liked, make_base, tiny_config

    folder = tmp_path_factory.mktemp("cast")
    usual = make_base(folder).model_dump(mode="json")["properties"]
    with spawn(align_request(tiny_config(folder, properties=usual | FAILING | {"liked": liked(folder)}))) as cast:
        yield cast


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("mounting needs rights that this process does not have")
    yield folder
    subprocess.run(["umount", folder], check=True)
