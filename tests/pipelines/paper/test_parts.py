"""Every setting of the experiments is a valid run, and differs from the others."""

from pathlib import Path

import pytest

from pipelines.config.loading import changed_config, load_config
from pipelines.objective import combined_utility
from pipelines.paper.parts import PARTS, Part


@pytest.mark.parametrize("part", PARTS.values(), ids=PARTS)
def test_settings_are_valid_runs_that_differ(part: Part) -> None:
    config = load_config(Path("configs/quickstart.yaml"))
    chosen = [changed_config(config, setting.overrides) for setting in part.settings]
    for setting in chosen:
        combined_utility(setting.objective, setting.properties)  # refuses an objective that does not fit
    objectives = {(repr(setting.objective), repr(setting.properties)) for setting in chosen}
    assert len(objectives) == len(part.settings) == len({setting.label for setting in part.settings})
