"""Every setting of the experiments is a valid run, and differs from the others."""

from pathlib import Path

import pytest

from experiments.paper.figures import COLOURS
from experiments.paper.parts import PARTS, REFERENCE, Part
from experiments.paper.run import setting_config
from pipelines.config.loading import changed_config, load_config
from pipelines.config.objective_values import objective_of


@pytest.mark.parametrize("part", PARTS.values(), ids=PARTS)
def test_settings_are_valid_runs_that_differ(part: Part) -> None:
    config = load_config(Path("configs/quickstart.yaml"))
    chosen = [changed_config(config, setting.overrides) for setting in part.settings]
    for setting in chosen:
        objective_of(setting.objective, setting.properties)  # refuses an objective that does not fit
    objectives = {(repr(setting.objective), repr(setting.properties)) for setting in chosen}
    assert len(objectives) == len(part.settings) == len({setting.label for setting in part.settings})


def test_a_setting_has_a_table_of_its_own_where_the_key_of_a_table_differs() -> None:
    config = load_config(Path("configs/quickstart.yaml"))
    for setting in (setting for part in PARTS.values() for setting in part.settings):
        chosen = setting_config(config, setting)
        calibrated = any(getattr(found, "calibrate", False) for found in chosen.properties.values())
        assert setting.own_table == calibrated == (chosen.base_folder != config.base_folder)
    assert any(setting.own_table for setting in REFERENCE.settings)


def test_every_setting_of_a_part_has_a_colour_in_its_figure() -> None:
    assert max(len(part.settings) for part in PARTS.values()) <= len(set(COLOURS))
