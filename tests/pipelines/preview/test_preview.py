"""The command on real cached samples: its files, its numbers, and what it refuses."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from typer.testing import CliRunner

from pipelines.cli import app
from pipelines.config.loading import changed_config, save_config
from pipelines.config.objectives import LagrangianObjective
from pipelines.config.run import RunConfig
from pipelines.preview.grid import grid_of
from pipelines.preview.run import predict_cached, predict_grid
from pipelines.preview.summary import notes, summary_of
from pipelines.preview.write import preview
from pipelines.references.build import build_references
from pipelines.references.cached_samples import cached_utilities, load_cached_samples
from pipelines.references.table import ReferenceTable
from tests.actors.tiny_models import save_policy
from tests.pipelines.tiny_references import write_references
from tests.pipelines.tiny_run import make_base, tiny_config

GOLD = {"gold": "tests.pipelines.tiny_rewards:gold", "bars": {"short": 0.0, "vowels": 1.0}}
GRID = {
    "references": {"short": [{"kind": "mean"}], "vowels": [{"kind": "mean"}]},
    "target_kls": [0.2, 0.4, 9.0],
    "best_of_k": [2, 4],
    "kl_budgets": [0.3, 1.0],
}


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory, ray_cluster: None) -> RunConfig:
    folder = tmp_path_factory.mktemp("preview")
    make_base(folder)
    config = tiny_config(folder, evaluate=GOLD, preview=GRID)
    build_references(config)
    save_config(config, config.folder / "config.yaml")
    return config


def run(*words: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["preview", *words])
    return result.exit_code, result.stdout, result.stderr


def test_a_preview_leaves_settings_a_summary_a_page_and_plots(config: RunConfig) -> None:
    status, shown, errors = run(str(config.folder))
    assert status == 0, errors
    folder = config.folder / "preview"
    rows = pq.read_table(folder / "settings.parquet").to_pylist()
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    assert len(rows) == summary["num_predictions"] > 100
    assert summary["num_distinct_predictions"] < len(rows)
    assert summary["headline"] == "both_good_rate"
    assert all(row["problem"] for row in rows if row["target_kl"] == 9.0)
    assert all(0 <= row["gold_win_rate"] <= 1 for row in rows if row["problem"] is None)
    page = (folder / "preview.html").read_text(encoding="utf-8")
    assert "plotly" in page
    assert "default-src 'none'" in page
    assert 'src="http' not in page
    assert {path.name for path in folder.glob("*.png")} == {"frontier.png", "trade_off.png", "shortcuts.png"}
    assert "best settings by both good, by gold" in shown
    # 4 prompts: what can be said comes from the samples, and what cannot is said.
    assert "Does the choice of objective matter here?" in shown
    assert "Does the choice of objective matter here?" in page
    diagnosis = summary["diagnosis"]
    assert diagnosis["judge"] == "gold"
    assert diagnosis["coordinates"] is None
    assert any("need 20 or more" in line for line in diagnosis["cannot"])
    assert "allgood align" in shown


def test_the_own_setting_is_predicted_from_what_training_would_compute(config: RunConfig) -> None:
    cached = load_cached_samples(config, "validation")
    utilities = cached_utilities(config, cached, ReferenceTable.load(config.base_folder / "references"))
    gain = next(p for p in predict_grid(config).settings[0].predictions if p.k == 2).numbers["utility_gain"]
    best_of_two = utilities.unsqueeze(-1).maximum(utilities.unsqueeze(-2))
    pairs = utilities.shape[1] * (utilities.shape[1] - 1)
    off_diagonal = best_of_two.sum((-1, -2)) - utilities.sum(-1)
    assert gain == pytest.approx(float((off_diagonal / pairs - utilities.mean(-1)).mean()), abs=1e-6)


def test_a_prompt_of_which_nothing_could_be_scored_is_left_out_though_it_has_no_reference(config: RunConfig) -> None:
    cached = load_cached_samples(config, "validation")
    table = ReferenceTable.load(config.base_folder / "references")
    failed, others = cached.prompt_ids[0], torch.arange(len(cached.prompt_ids)) > 0
    rewards = {name: grid.where(others[:, None], torch.nan) for name, grid in cached.rewards.items()}
    rows = {
        name: {**by_prompt, failed: {**by_prompt[failed], "mean": float("nan")}}
        for name, by_prompt in table.rows.items()
    }
    grid = grid_of(config)
    found = predict_cached(config, grid, replace(cached, rewards=rewards), replace(table, rows=rows))
    assert found.num_dropped_prompts == 1
    expected = predict_cached(config, grid, cached.on(others), table)
    ours, theirs = ([p.numbers for _, p in preview.distinct] for preview in (found, expected))
    assert ours == theirs


def test_raw_sums_are_the_same_under_every_reference(config: RunConfig) -> None:
    found = predict_grid(config)
    raw = [s for s in found.settings if (s.setting.objective, s.setting.transform) == ("short + vowels", "identity")]
    assert len(raw) == 4
    assert [s.same_as for s in raw] == [None, *[raw[0].index] * 3]


def test_without_gold_the_reward_models_rank_and_the_notes_say_that_they_are_no_judges(config: RunConfig) -> None:
    blind = config.model_copy(update={"evaluate": tiny_config(config.base_folder.parent).evaluate})
    # the cached samples keep their gold columns, but without bars nobody says what is good
    summary = preview(blind, Path("run.yaml"))
    assert summary["headline"] == "reward_win_rate"
    assert any("no judge" in note for note in notes(summary))


def test_a_lagrangian_is_noted_to_have_its_initial_multipliers(config: RunConfig) -> None:
    lagrangian = LagrangianObjective(maximise="short", thresholds={"vowels": 0.5})
    own = predict_grid(config.model_copy(update={"objective": lagrangian}))
    assert any("initial multipliers" in note for note in notes(summary_of(own)))
    assert not any("initial multipliers" in note for note in notes(summary_of(predict_grid(config))))


def test_targets_of_which_the_samples_can_show_none_are_refused_before_anything_is_written(
    config: RunConfig, tmp_path: Path
) -> None:
    where = [f"output_dir={tmp_path}", "preview.target_kls=[3.0, 2.5]"]
    status, _, errors = run(str(config.folder), *where)  # 8 samples: log 8 = 2.08
    assert status == 2
    assert "preview.target_kls starts at 2.5" in errors
    assert "8 samples per prompt cannot show more than 2.08 nats" in errors
    assert not list(tmp_path.rglob("preview/*"))


def test_without_a_target_within_reach_there_is_no_picture_of_the_trade_off(config: RunConfig, tmp_path: Path) -> None:
    where = [f"output_dir={tmp_path}", "preview.target_kls=[3.0]", "preview.coefficients=[0.5]"]
    status, _, errors = run(str(config.folder), *where)
    assert status == 0, errors
    assert {path.name for path in tmp_path.rglob("*.png")} == {"frontier.png", "shortcuts.png"}
    assert "trade_off" not in next(tmp_path.rglob("preview.html")).read_text(encoding="utf-8")


def test_samples_of_another_policy_are_refused_by_key(config: RunConfig, tmp_path: Path) -> None:
    shutil.copytree(config.base_folder, tmp_path / "base")
    save_policy(tmp_path / "base" / "sft" / "best", spread=3.0)
    status, _, errors = run(str(config.folder), f"base={tmp_path / 'base'}")
    assert status == 2
    assert "belongs to another run: policy" in errors


def test_missing_samples_and_missing_splits_are_refused_with_what_to_do(config: RunConfig, tmp_path: Path) -> None:
    status, _, errors = run(str(config.folder), f"base={tmp_path / 'nothing'}")
    assert status == 2
    assert "allgood reference" in errors
    shutil.copytree(config.base_folder, tmp_path / "base")
    write_references(changed_config(config, [f"base={tmp_path / 'base'}", "references.splits=[alignment]"]))
    status, _, errors = run(str(config.folder), f"base={tmp_path / 'base'}", "preview.split=validation")
    assert status == 2
    assert "holds no samples of the validation split (it holds alignment); add it to references.splits" in errors


def test_the_notes_say_what_is_not_judged(config: RunConfig, tmp_path: Path) -> None:
    def judged_by_one(samples: pa.Table) -> pa.Table:
        gold = [name for name in samples.column_names if name.startswith("gold.")]
        return samples.drop_columns(gold).append_column("evaluator.short", samples["reward.short"])

    changed = config.model_copy(
        update={"base": tmp_path / "base", "evaluate": config.evaluate.model_copy(update={"gold": None, "bars": {}})}
    )
    shutil.copytree(config.base_folder, tmp_path / "base")
    write_references(changed, change=judged_by_one)
    found = summary_of(predict_grid(changed))
    assert (found["headline"], found["evaluated"], found["unjudged"]) == ("evaluator_win_rate", ["short"], ["vowels"])
    assert any(note.startswith("Nobody judges vowels") for note in notes(found))
    partial = config.model_copy(update={"evaluate": config.evaluate.model_copy(update={"bars": {"short": 0.0}})})
    assert summary_of(predict_grid(config))["unjudged"] == []
    assert summary_of(predict_grid(partial))["unjudged"] == ["vowels"]


def test_a_reference_that_the_table_lacks_is_refused(config: RunConfig) -> None:
    unknown = 'preview.references={"short": [{"kind": "canned", "replies": ["no"]}]}'
    status, _, errors = run(str(config.folder), unknown)
    assert status == 2
    assert "holds no rewards of these canned replies" in errors
