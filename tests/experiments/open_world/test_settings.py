"""The settings of the trainings."""

from __future__ import annotations

from pathlib import Path

from experiments.open_world.design import STEPS
from experiments.open_world.models import Scale, seed_config
from experiments.open_world.settings import SETTINGS, with_steps


def test_a_training_is_evaluated_where_its_last_quarter_begins_and_ends(tmp_path: Path) -> None:
    config = seed_config(Scale(SETTINGS), tmp_path, "weak", 3)
    assert (config.name, config.seed, config.world.seed, config.world.point) == ("weak_3", 3, 3, "weak")
    for steps in set(STEPS.values()):
        align = with_steps(config, steps).align
        assert (align.steps, align.evaluate_every, align.checkpoint_every) == (steps, 3 * steps // 4, steps)
