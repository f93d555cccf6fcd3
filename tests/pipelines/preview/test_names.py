"""Overrides: what is added to a run file trains the setting that was predicted, and nothing else."""

from __future__ import annotations

from pathlib import Path

from pipelines.config.loading import changed_config
from pipelines.config.rl import FixedController, WeightedSumObjective
from pipelines.preview.names import overrides_of
from tests.pipelines.tiny_run import tiny_config


def test_the_runs_own_setting_needs_its_coefficient_alone(tmp_path: Path) -> None:
    config = tiny_config(tmp_path)
    assert overrides_of(config, config, 0.25) == ["kl.coefficient=0.25"]
    assert overrides_of(config, config, None) == []


def test_a_controller_of_the_run_file_is_turned_off_so_that_the_coefficient_stays(tmp_path: Path) -> None:
    base = tiny_config(tmp_path, kl={"controller": {"kind": "target", "target": 4.0}})
    setting = base.model_copy(update={"objective": WeightedSumObjective(weights={"short": 2.0})})
    trained = changed_config(base, overrides_of(setting, base, 0.25))
    assert trained.kl.controller == FixedController()
    assert trained.kl.coefficient == 0.25
    assert trained.objective == setting.objective
    assert overrides_of(base, base, None) == []  # best-of-k trains nothing
