"""Arms at a target KL, and what a longer training changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.comparison import arm_of
from pipelines.config.loading import load_config
from pipelines.study.matched import FULL_RATE_KL, paced_config, slower


def test_the_learning_rate_follows_the_root_of_the_target():
    config = load_config(Path("configs/quickstart.yaml"), [])
    paced = paced_config(config, FULL_RATE_KL / 4)
    assert paced.align.optimizer.learning_rate == pytest.approx(config.align.optimizer.learning_rate / 2)


def test_a_slower_arm_has_twice_the_steps_at_half_the_rate_and_its_own_folder():
    arm = arm_of(
        load_config(Path("configs/quickstart.yaml"), ["align.steps=120", "align.evaluate_every=90"]), "raw", 0.3
    )
    twice = slower(arm)
    four_times = slower(twice)
    rate = arm.config.align.optimizer.learning_rate
    for index, longer in enumerate((twice, four_times), start=1):
        align = longer.config.align
        assert (align.steps, align.evaluate_every, align.checkpoint_every) == (
            120 * 2**index,
            90 * 2**index,
            120 * 2**index,
        )
        assert align.optimizer.learning_rate == pytest.approx(rate / 2**index)
        assert longer.objective == "raw"
    assert [twice.name, four_times.name] == ["raw_0.3_240_steps", "raw_0.3_480_steps"]
    assert len({longer.config.folder for longer in (arm, twice, four_times)}) == 3
