"""The whole check at a tiny scale: real world, trainings, actors, 24 arms in two lanes, results, page and figures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from allgood.errors import ConfigError
from experiments.preview_check.design import Scale
from experiments.preview_check.run import run_check
from experiments.preview_check.write import load_results, write_results
from pipelines.config.loading import load_config
from pipelines.data import prepare
from pipelines.training.parallel import train_rewards
from pipelines.training.sft import train_sft
from pipelines.world.write import write_world
from tests.pipelines.comparison.test_quickstart import TINY

SCALE = Scale(
    steps=4,
    evaluate_every=1,
    test_prompts=5,
    solving_prompts=4,
    samples=32,
    validation_samples=2,
    evaluation_samples=2,
    bootstrap=50,
)
FEW_PROMPTS = ("references.max_prompts={alignment: 8, validation: 4}", "align.max_evaluation_prompts=4")


@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
def test_every_setting_is_predicted_trained_and_compared_and_nothing_is_run_twice(tmp_path: Path) -> None:
    chain = load_config(Path("configs/quickstart.yaml"), [*TINY, *FEW_PROMPTS, f"output_dir={tmp_path}"])
    write_world(chain)
    prepare(chain)
    train_sft(chain)
    train_rewards(chain)
    run_check(chain, tmp_path / "check", SCALE)
    results = load_results(tmp_path / "check")
    assert len(results) == 24
    assert {entry["target_kl"] for entry in results} == {0.5, 1.0, 2.0}
    for entry in results:
        assert [point["step"] for point in entry["curve"]] == [1, 2, 3, 4]
        for side in ("predicted", "achieved"):
            assert len(entry[side]["by_prompt"]["kl"]) == 5
            assert 0 <= entry[side]["mean"]["gold_win_rate"] <= 1
    by_gamma = [entry["gamma"] for entry in results if entry["setting"] == "raw_1_1"]
    assert by_gamma == sorted(by_gamma, reverse=True)
    raw = {entry["setting"]: entry["predicted"]["mean"]["utility"] for entry in results if entry["target_kl"] == 1.0}
    assert len({round(value, 6) for value in raw.values()}) == 8
    write_results(results, tmp_path / "results")
    page = (tmp_path / "results" / "preview_vs_training.md").read_text(encoding="utf-8")
    assert "Spearman rank correlation" in page
    assert (tmp_path / "results" / "preview_vs_training.png").stat().st_size > 10_000

    path = tmp_path / "check" / "results" / "raw_1_1_kl1.json"
    kept = {other: other.stat().st_mtime_ns for other in path.parent.glob("*.json") if other != path}
    path.unlink()
    run_check(chain, tmp_path / "check", SCALE)
    assert json.loads(path.read_text(encoding="utf-8"))["setting"] == "raw_1_1"
    assert kept == {other: other.stat().st_mtime_ns for other in kept}
    with pytest.raises(ConfigError, match="another scale"):
        run_check(chain, tmp_path / "check", Scale())
