"""The sweep files that ship: each loads, every point of it is a run, and the documentation names every key."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.config.sweep import SweepConfig
from pipelines.config.sweep_loading import load_sweep
from pipelines.sweep.space import planned, point_config, space_of

FILES = sorted(Path("tune_configs").glob("*.yaml"))


def test_the_promised_files_are_there() -> None:
    assert {
        "reference_point",
        "kl_coefficient",
        "reference_x_kl",
        "transform_ablation",
        "aggregation_ablation",
        "paper_hh",
        "paper_hh_reference",
        "paper_hh_aggregation",
        "smoke",
    } == {path.stem for path in FILES}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_point_of_a_shipped_sweep_is_a_run(path: Path) -> None:
    sweep, run = load_sweep(path)
    assert sweep.name == path.stem
    space = space_of(sweep, run)
    points = planned(space, sweep) or [space.point(choice) for choice in space.corners()]
    for point in points:
        trial = point_config(point, run, source=str(path))
        assert "validation" in trial.references.splits
        if sweep.mode.early_stopping.kind == "asha":
            assert trial.align.evaluate_every < trial.align.steps


def test_the_documentation_names_every_key_of_a_sweep_file() -> None:
    page = Path("docs/how-to/sweep.md").read_text(encoding="utf-8")
    assert [key for key in SweepConfig.model_fields if f"`{key}`" not in page] == []
