"""The whole chain in miniature: real world, trainings, actors, arms on two lanes, evaluation and report."""

import json
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM

from allgood.errors import ConfigError
from pipelines.answers.generate import aligned_folder
from pipelines.comparison.quickstart import run_quickstart
from pipelines.comparison.summary import final_table
from pipelines.config.loading import load_config
from pipelines.evaluation.entry import Comparison
from pipelines.output.typed_json import as_json, read_json
from tests.pipelines.tiny_world import TINY_WORLD

TINY = (
    *TINY_WORLD,
    "references.num_samples=4",
    "align.steps=2",
    "align.evaluate_every=2",
    "align.checkpoint_every=2",
)


@pytest.mark.usefixtures("ray_cluster")
def test_quickstart_leaves_a_summary_a_report_and_models_that_load(tmp_path: Path) -> None:
    config = load_config(Path("configs/quickstart.yaml"), [*TINY, f"output_dir={tmp_path}"])
    found = run_quickstart(config)
    folder = tmp_path / "quickstart"
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    assert [arm["objective"] for arm in summary["arms"]] == ["raw_sum", "lsc_sum", "raw_sum", "lsc_sum"]
    assert summary["sft"]["kl"] == 0.0
    for arm in summary["arms"]:
        low, high = arm["gold_win_rate_ci"]
        assert low <= arm["gold_win_rate"] <= high
        assert arm["gold_win_rate"] == pytest.approx(sum(arm["gold_win_rates"].values()) / 2)
        gain = arm["both_good_rate"] - summary["sft"]["both_good_rate"]
        assert arm["both_good_gain"] == pytest.approx(gain)
        AutoModelForCausalLM.from_pretrained(Path(arm["folder"]) / "model")
    rates = [arm["validation_both_good_rate"] for arm in summary["arms"]]
    assert rates[summary["chosen_arm"]] == max(rates)
    assert aligned_folder(folder).name == summary["arms"][summary["chosen_arm"]]["name"]
    assert summary == as_json(found)
    assert as_json(read_json(Comparison, folder / "summary.json")) == summary
    assert "report.html" in final_table(found)
    assert (folder / "report.html").stat().st_size > 10_000
    assert list((folder / "plots").glob("*.png"))


def test_a_configuration_without_arms_is_refused(tmp_path: Path) -> None:
    config = load_config(Path("configs/quickstart.yaml"), [f"output_dir={tmp_path}", "comparison=null"])
    with pytest.raises(ConfigError, match=r"configs/quickstart\.yaml"):
        run_quickstart(config)
    assert not any(tmp_path.iterdir())
