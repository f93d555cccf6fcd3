"""A sweep without gold and held-out models: what it refuses, and that rewards and KL are all that it shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from actors.cluster.supervision import ActorNames
from allgood.errors import ConfigError
from pipelines.config.run import RunConfig
from pipelines.evaluation.measure import PolicySamples
from pipelines.evaluation.samples import ScoredSamples, save_samples
from pipelines.output.files import write_json
from pipelines.output.metrics_log import MetricsLog
from pipelines.run.folder import RunFolder
from pipelines.sweep.final_table import final_table
from pipelines.sweep.judge import judge_source, unjudged_notice
from pipelines.sweep.plan import POINT, RESULT, SFT_SAMPLES, TRIALS, TrialPlan, point_entry
from pipelines.sweep.run import run_sweep, write_results
from pipelines.sweep.space import space_of
from pipelines.sweep.trial import run_trial
from pipelines.sweep.unjudged import UNJUDGED, training_rewards
from tests.pipelines.sweep.tiny_sweep import tiny_sweep, unjudged_base

GAMMAS = {"kl.coefficient": {"kind": "values", "values": [0.1, 1.0]}}


@pytest.fixture
def base(tmp_path: Path) -> RunConfig:
    return unjudged_base(tmp_path)


@pytest.mark.parametrize(
    ("sections", "asked"),
    [
        ({"search": {"kind": "optuna"}}, "search.kind optuna"),
        ({"mode": {"kind": "single_objective"}, "kl_budget": 1.0}, "mode.kind single_objective, kl_budget"),
        ({"kl_budget": 1.0}, "kl_budget"),
    ],
)
def test_what_only_a_judge_decides_is_refused_before_anything_starts(
    tmp_path: Path, base: RunConfig, sections: dict[str, Any], asked: str
) -> None:
    with pytest.raises(ConfigError, match=f"^{asked}: this needs a win rate, and nobody here can judge one"):
        run_sweep(tiny_sweep(tmp_path, space=GAMMAS, **sections), base, source_name="tiny.yaml")
    assert list(tmp_path.iterdir()) == []


def test_nobody_judges_where_there_are_only_training_rewards(base: RunConfig) -> None:
    assert judge_source(base) == "nobody"
    assert unjudged_notice(base, "nobody") == UNJUDGED


def test_a_finished_trial_reports_steps_and_kl_again(
    tmp_path: Path, base: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = tiny_sweep(tmp_path, space=GAMMAS)
    space = space_of(sweep, base)
    choice = next(space.grid())
    trial = RunFolder(sweep.folder / TRIALS / space.point(choice).name)
    log = MetricsLog(trial.metrics)
    for row in ({"step": 1}, {"step": 2, "validation.kl_k1_mean": 0.5}):
        log.append(row)
    write_json(trial.path / RESULT, {})
    told: list[dict[str, float]] = []
    monkeypatch.setattr("ray.tune.report", told.append)
    plan = TrialPlan(space, base, sweep.folder, ActorNames("shared", "none", ()), "nobody", None, "one", "tiny.yaml")
    run_trial({"choice": choice}, plan)
    assert told == [{"step": 2.0, "kl": 0.5}]


def scored(rewards: dict[str, list[list[float]]], kl: float) -> ScoredSamples:
    """Two samples of each of three prompts."""
    policy = PolicySamples(
        prompt_ids=("a", "b", "c"),
        responses=(("yes.", "no."),) * 3,
        gold={},
        kl=np.full((3, 2), kl),
        finish_reasons=(("stop", "stop"),) * 3,
        num_tokens=np.full((3, 2), 2),
    )
    return ScoredSamples(("A", "B", "C"), policy, {name: np.array(values) for name, values in rewards.items()})


def test_rewards_are_means_over_prompts_of_what_was_scored(base: RunConfig) -> None:
    # Prompt means 1.5, 4 (one score failed) and none: (1.5 + 4) / 2.
    nan = float("nan")
    samples = scored({"short": [[1.0, 2.0], [4.0, nan], [nan, nan]], "vowels": [[nan, nan]] * 3}, kl=0.5)
    found = training_rewards(samples, base)
    assert list(found) == ["reward.short", "kl"]
    assert (found["reward.short"]["value"], found["reward.short"]["num_prompts"]) == (2.75, 2)
    assert found["kl"]["value"] == 0.5


def test_table_and_page_show_rewards_and_kl_and_choose_nothing(tmp_path: Path, base: RunConfig) -> None:
    sweep = tiny_sweep(tmp_path, space=GAMMAS)
    space = space_of(sweep, base)
    for choice, reward in zip(space.grid(), (-3.0, -2.0), strict=True):
        entry = point_entry(space.point(choice))
        trial = sweep.folder / TRIALS / entry["name"]
        trial.mkdir(parents=True)
        write_json(trial / POINT, entry)
        test = training_rewards(scored({"short": [[reward] * 2] * 3}, kl=1.25), base)
        validation = {"kl_k1_mean": 1.0, "reward.short.mean": reward}
        result = {"steps": 6, "seconds": 1.0, "stopped": None, "validation": validation, "test": test}
        write_json(trial / RESULT, entry | result)
    save_samples(scored({"short": [[-5.0] * 2] * 3}, kl=0.0), sweep.folder / SFT_SAMPLES)
    summary = write_results(sweep, base, space)
    assert summary["judge"] == "nobody"
    assert not {"front", "recommended", "hypervolume"} & set(summary)
    assert [setting["on_front"] for setting in summary["settings"]] == [None, None]
    shown = final_table(summary)
    lines = [[cell.strip() for cell in line.split(" | ")] for line in shown.splitlines() if " | " in line]
    assert lines == [
        ["setting", "seeds", "KL", "training reward short"],
        ["start policy", "–", "0.00 [0.00, 0.00]", "-5.000 [-5.000, -5.000]"],
        ["gamma 0.1", "1", "1.25 [1.25, 1.25]", "-3.000 [-3.000, -3.000]"],
        ["gamma 1", "1", "1.25 [1.25, 1.25]", "-2.000 [-2.000, -2.000]"],
    ]
    assert f"{UNJUDGED}." in shown
    page = (sweep.folder / "report.html").read_text()
    assert "training reward short" in page
    assert all(words not in page for words in ("win rate", "Recommended", "Front", "good rate"))
