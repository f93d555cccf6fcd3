"""The study in miniature: predicted, preregistered, trained, written; and what is done is not done again."""

from __future__ import annotations

from pathlib import Path

import pytest

from allgood.errors import DataError
from experiments.open_world.design import RAW, STEPS, TUNED, PlannedArm, planned_arms
from experiments.open_world.models import Scale
from experiments.open_world.page import write_page
from experiments.open_world.preregistration import register, registered
from experiments.open_world.runs import run_arms_of, run_predictions, trained_before
from experiments.open_world.stored import Stored
from tests.pipelines.tiny_world import TINY_WORLD

TINY = (
    *TINY_WORLD,
    "references.num_samples=8",
)


@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
def test_arms_are_predicted_then_registered_then_trained(tmp_path: Path) -> None:
    steps = dict.fromkeys(STEPS, 4)
    scale = Scale(TINY, seeds=[0], points=["weak"], samples=32, validation_prompts=6, test_prompts=6, steps=steps)
    stored, path = Stored(tmp_path / "data"), tmp_path / "preregistration.json"
    run_predictions(scale, tmp_path / "runs", stored)
    with pytest.raises(DataError, match="no arm is trained without"):
        registered(path)
    register(stored, path)
    run_arms_of(scale, tmp_path / "runs", stored, registered(path))
    (seed,) = stored.seeds("weak")
    arms = planned_arms("weak", best_other=seed.predictions["best_other"])
    assert set(seed.arms) == {arm.name for arm in arms if arm.target_kl == 2.0}  # 32 samples cannot show 4 nats
    for arm in seed.arms.values():
        assert arm["preregistration"] == registered(path).sha256
        assert len(arm["by_prompt"]["all_good"]) == 12
        assert set(arm["reward_win_rates"]) == set(arm["rare_rates"]) == {"helpful", "harmless"}
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "data").rglob("arms/*.json")}
    run_arms_of(scale, tmp_path / "runs", stored, registered(path))
    assert written == {path: path.stat().st_mtime_ns for path in (tmp_path / "data").rglob("arms/*.json")}
    write_page(stored, tmp_path)
    assert "`weak`: 1 seed predicted, 3 of its 3 arms trained" in (tmp_path / "open_world.md").read_text(
        encoding="utf-8"
    )


@pytest.mark.parametrize(("parameter", "gamma", "is_same"), [(1.0, 0.5, True), (2.0, 0.5, False), (1.0, 0.6, False)])
def test_an_arm_is_not_trained_twice_under_two_names(
    tmp_path: Path, parameter: float, gamma: float, is_same: bool
) -> None:
    stored, raw = Stored(tmp_path), PlannedArm(RAW, 2.0)
    trained = {"name": "raw_sum_0.5", "objective": RAW, "parameter": None, "gamma": 0.5, "kl": 2.03}
    stored.write(stored.arm("strong", 0, raw.name), trained)
    found = trained_before(stored, ("strong", 0), PlannedArm(TUNED, 2.0), {"parameter": parameter, "gamma": gamma})
    own = {"name": "raw_sum_tuned_0.5", "objective": TUNED, "parameter": 1.0, "same_training_as": raw.name}
    assert found == (trained | own if is_same else None)
    assert trained_before(stored, ("strong", 0), raw, {"parameter": None, "gamma": 0.5}) is None
