"""A whole evaluation with real actors, a tiny policy and reward functions: files, numbers, reuse of SFT samples."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from actors.cluster.cast import Cast
from allgood.errors import ConfigError
from pipelines.alignment.align import run_align
from pipelines.config.run import RunConfig
from pipelines.evaluation.entry import headlines
from pipelines.evaluation.evaluate import (
    MEASUREMENTS,
    SAMPLES,
    evaluate,
    http_judge,
    judged,
    measured,
)
from pipelines.evaluation.measurements import UNJUDGED, Measurements
from pipelines.evaluation.samples import Drawn, ScoredSamples, load_samples
from pipelines.output.typed_json import as_json
from pipelines.references.build import build_references
from pipelines.run.folder import SFT_SAMPLES
from tests.pipelines.evaluation.test_judges import judge_server
from tests.pipelines.offline_wandb import offline_runs
from tests.pipelines.tiny_run import make_base, tiny_config

GOLD = {
    "gold": "tests.pipelines.tiny_rewards:gold",
    "bars": {"short": 0.0, "vowels": 1.0},
    "samples_per_prompt": 3,
    "sft_samples_per_prompt": 5,
    "bootstrap": 200,
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tiny_cast: Cast) -> RunConfig:
    folder = tmp_path_factory.mktemp("evaluate")
    make_base(folder)
    config = tiny_config(folder, evaluate=GOLD, tracking={"wandb": "offline"})
    build_references(config, tiny_cast)
    run_align(config, tiny_cast)
    return config


@pytest.fixture(scope="module")
def measurements(run: RunConfig) -> Measurements:
    return evaluate(run)


@pytest.fixture(scope="module")
def drawn(run: RunConfig, measurements: Measurements) -> Drawn:
    """The samples that the evaluation left."""
    aligned, sft = run.folder / "evaluation" / SAMPLES, run.base_folder / "evaluation" / SFT_SAMPLES
    return Drawn(load_samples(aligned), load_samples(sft), {})


def without_gold(samples: ScoredSamples) -> ScoredSamples:
    return replace(samples, policy=replace(samples.policy, gold={}))


def test_evaluation_covers_test_prompts_and_is_written(run: RunConfig, measurements: Measurements) -> None:
    assert (measurements.num_prompts, measurements.num_samples, measurements.num_sft_samples) == (4, 3, 5)
    assert json.loads((run.folder / "evaluation" / MEASUREMENTS).read_text()) == as_json(measurements)
    summary = json.loads((run.folder / "summary.json").read_text())
    assert summary["evaluation"] == as_json(headlines(measurements))
    assert summary["steps"] == 6  # what the alignment wrote is still there


def test_the_evaluation_is_tracked_beside_the_alignment(run: RunConfig, measurements: Measurements) -> None:
    runs = {tracked.job_type: tracked for tracked in offline_runs(run.folder)}
    assert {tracked.group for tracked in runs.values()} == {"arm"}
    assert sum("kl_k1_sum" in row for row in runs["align"].history) == 6
    assert len(list(runs["align"].path.parent.rglob("samples*.table.json"))) == 2
    final = runs["evaluate"].summary
    assert measurements.aligned.gold is not None
    assert final["final/aligned.both_good_rate"] == measurements.aligned.gold.both_good_rate.value
    responses = json.loads(next(runs["evaluate"].path.parent.rglob("responses*.table.json")).read_text())
    assert len(responses["data"]) == len(measurements.table)
    assert {"response", "sft_response", "numbers.short gold"} <= set(responses["columns"])


def test_the_sft_policy_has_no_kl_and_the_aligned_one_has(measurements: Measurements) -> None:
    assert measurements.sft.kl.value == 0.0
    assert measurements.aligned.kl.value != 0.0
    assert measurements.aligned.kl.num_prompts == 4


def test_gold_equals_the_reward_here_so_they_agree_on_every_pair(measurements: Measurements) -> None:
    assert measurements.aligned.gold is not None
    for name in ("short", "vowels"):
        found = measurements.reward_models[name]
        assert found.agreement.sft["reward~gold"].value == 1.0
        assert found.win_rate is not None
        assert asdict(found.win_rate) == pytest.approx(asdict(measurements.aligned.gold.gold_win_rates[name]))


def test_saved_samples_carry_the_numbers_that_were_measured(run: RunConfig, measurements: Measurements) -> None:
    samples = load_samples(run.folder / "evaluation" / "samples.parquet")
    assert samples.policy.kl.shape == (4, 3)
    assert float(samples.policy.kl.mean()) == pytest.approx(measurements.aligned.kl.value)
    np.testing.assert_allclose(samples.policy.gold["short"], samples.rewards["short"], rtol=1e-6)


def test_efficiency_is_measured_on_the_cached_samples(measurements: Measurements) -> None:
    if measurements.efficiency is None:
        assert str(measurements.efficiency_missing) in " ".join(measurements.notes)
    else:
        assert measurements.efficiency.num_samples == 8


def test_the_sample_table_has_every_kind_with_both_responses(measurements: Measurements) -> None:
    kinds = [row.kind for row in measurements.table]
    assert set(kinds) == {"best", "worst", "most changed"}
    assert measurements.table_ranked_by == "gold"
    assert "short gold" in measurements.table[0].numbers


def test_a_second_evaluation_reuses_the_sft_samples_and_gives_the_same_numbers(
    run: RunConfig, measurements: Measurements, capfd: pytest.CaptureFixture[str]
) -> None:
    path = run.base_folder / "evaluation" / SFT_SAMPLES
    written = path.stat().st_mtime_ns
    assert as_json(evaluate(run)) == as_json(measurements)
    assert path.stat().st_mtime_ns == written
    assert "samples of the start policy from an earlier evaluation" in capfd.readouterr().out


def test_without_gold_and_evaluators_the_notes_say_who_is_missing(run: RunConfig, drawn: Drawn) -> None:
    bare = run.model_copy(update={"evaluate": run.evaluate.model_copy(update={"gold": None, "bars": {}})})
    without = Drawn(without_gold(drawn.aligned), without_gold(drawn.sft), {})
    found = measured(bare, without)
    assert found.aligned.gold is None
    assert not found.is_judged
    assert found.notes[0] == UNJUDGED
    assert "evaluator 2 is left out" in " ".join(found.notes)
    assert found.table_ranked_by == "training reward models"
    judged_by_models = replace(without, aligned=judged_by_a_model(without.aligned), sft=judged_by_a_model(without.sft))
    found = measured(bare, judged_by_models)
    assert found.is_judged
    assert "Evaluator 1 was left out" in " ".join(found.notes)


def judged_by_a_model(samples: ScoredSamples) -> ScoredSamples:
    """With scores of a held-out model of `short`."""
    return replace(samples, scores={**samples.scores, "evaluator.short": samples.scores["short"]})


def test_the_http_judge_is_asked_when_it_is_configured(run: RunConfig, drawn: Drawn) -> None:
    with judge_server(lambda question, handler: "TIE") as (url, seen):
        changes = {"judge_url": url, "judge_model": "m"}
        config = run.model_copy(update={"evaluate": run.evaluate.model_copy(update=changes)})
        found = judged(config, http_judge(config), drawn)
    assert found is not None
    rate = found.properties["short"].win_rate
    assert rate is not None
    assert rate.value == 0.5
    assert len(seen) == 2 * 2 * 4  # properties x orders x prompts


def test_an_unfinished_run_is_refused(run: RunConfig, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no aligned model"):
        evaluate(run.model_copy(update={"output_dir": tmp_path}))
