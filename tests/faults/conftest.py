"""What several tests of faults share: the run that nobody interrupts, which is the same for all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from actors.cluster.cast import Cast
    from pipelines.config.run import RunConfig


@pytest.fixture(scope="session")
def whole(tiny_cast: Cast, tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    """The run of `long_config` that nobody interrupts, on a base with references. Nobody changes its folder."""
    # Not at the top: pytest may read this file before it installs the checks of shapes in `allgood`.
    from tests.faults.align_driver import long_config
    from tests.pipelines.tiny_run import undisturbed

    folder = tmp_path_factory.mktemp("long")
    return undisturbed(folder, long_config(folder, "whole"), tiny_cast)
