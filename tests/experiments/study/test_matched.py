"""Arms at a target KL."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.study.matched import FULL_RATE_KL, paced_config
from pipelines.config.loading import load_config


def test_the_learning_rate_follows_the_root_of_the_target():
    config = load_config(Path("configs/quickstart.yaml"), [])
    paced = paced_config(config, FULL_RATE_KL / 4)
    assert paced.align.optimizer.learning_rate == pytest.approx(config.align.optimizer.learning_rate / 2)
