"""What of a config decides the result of an alignment: `resume` refuses a checkpoint of another hash."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipelines.alignment.checkpoints import config_hash
from pipelines.config.loading import changed_config
from tests.pipelines.tiny_run import tiny_config


def hash_with(folder: Path, *overrides: str, **sections: Any) -> str:
    return config_hash(changed_config(tiny_config(folder, **sections), overrides))


def test_where_and_how_a_run_is_watched_and_placed_is_not_its_result(tmp_path: Path) -> None:
    before = hash_with(tmp_path)
    for override in (
        "output_dir=elsewhere",
        "tracking.tensorboard=true",
        "preview.target_kls=[2.5]",
        "placement.rollout.replicas=2",
        "placement.deadline_s=60",
        "properties.short.placement.cpus=3",
    ):
        assert hash_with(tmp_path, override) == before, override


def test_where_the_kl_is_subtracted_is_part_of_the_result(tmp_path: Path) -> None:
    k3 = "kl.estimator=k3"
    assert hash_with(tmp_path, k3) != hash_with(tmp_path, k3, "kl.placement=loss")


def test_a_property_may_be_called_like_a_section(tmp_path: Path) -> None:
    rule = {"kind": "function", "function": "tests.pipelines.tiny_rewards:short"}
    first = hash_with(tmp_path, properties={"preview": rule})
    assert hash_with(tmp_path, "properties.preview.function=a:b", properties={"preview": rule}) != first
