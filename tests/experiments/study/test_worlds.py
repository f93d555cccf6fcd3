"""One world of the study in miniature, and the page made from it."""

import json
from pathlib import Path

import pytest

from experiments.study import worlds
from experiments.study.held_out import is_trained
from experiments.study.write import write_results
from pipelines.config.loading import load_config
from tests.pipelines.comparison.test_quickstart import TINY

TARGETS = (0.5, 2.0)


@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
def test_a_world_leaves_every_arm_at_every_target_and_a_page(tmp_path: Path) -> None:
    overrides = [*TINY, "align.evaluate_every=1", "references.num_samples=16", f"output_dir={tmp_path}"]
    config = load_config(Path("configs/quickstart.yaml"), overrides)
    results = tmp_path / "seed_0_on.json"
    clean = worlds.world_config(config, seed=0, shortcuts=False)
    worlds.run_world(worlds.world_config(config, seed=0, shortcuts=True), clean, results, targets=TARGETS)
    assert is_trained(clean)  # the twin without shortcuts, for its held-out models
    numbers = json.loads(results.read_text(encoding="utf-8"))
    objectives = {"lsc_sum", "raw_sum", "raw_sum_tuned", "lsc_sum_q85"}
    assert {(arm["objective"], arm["target_kl"]) for arm in numbers["arms"]} == {
        (objective, target) for objective in objectives for target in TARGETS
    }
    gammas = [arm["gamma"] for arm in numbers["arms"] if arm["objective"] == "lsc_sum"]
    assert gammas == sorted(gammas, reverse=True)  # a larger KL needs a smaller coefficient
    assert set(numbers["sft"]["evaluator_2"]) == {"evaluator", "clean"}
    arms = list((tmp_path / "seed_0_on" / "arms").glob("*/metrics.jsonl"))
    written = {path: path.stat().st_mtime_ns for path in arms}
    worlds.run_world(worlds.world_config(config, seed=0, shortcuts=True), clean, results, targets=TARGETS)
    assert written == {path: path.stat().st_mtime_ns for path in arms}  # what is there is not run again
    assert json.loads(results.read_text(encoding="utf-8"))["arms"] == numbers["arms"]
    write_results([numbers, numbers | {"seed": 1}], tmp_path / "docs")
    page = (tmp_path / "docs" / "quickstart_study.md").read_text(encoding="utf-8")
    assert "LSC sum minus raw sum" in page
    assert (tmp_path / "docs" / "quickstart_study_on.png").is_file()
