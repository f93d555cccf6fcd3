"""Which samples, references and judge a run's diagnosis is made of, and how it is put into words."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from allgood.diagnosis.diagnose import diagnose
from allgood.diagnosis.found import Contrast, Diagnosis, WhatIf
from allgood.diagnosis.samples import DiagnosedSamples
from allgood.intervals import Interval
from allgood.views import GoodFrom, PropertyView
from pipelines.config.run import RunConfig
from pipelines.preview.diagnosis import Diagnosable, diagnosable
from pipelines.preview.diagnosis_page import diagnosis_section, diagnosis_summary
from pipelines.preview.diagnosis_words import contrast_rows, coordinate_rows, details, headline, to_know_more
from pipelines.references.cached_samples import CachedSamples
from pipelines.reporting.html import page
from tests.pipelines.tiny_run import tiny_config

NUM_PROMPTS, NUM_SAMPLES = 24, 8


@pytest.fixture
def config(tmp_path: Path) -> RunConfig:
    return tiny_config(tmp_path)


def grids(seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shape = (NUM_PROMPTS, NUM_SAMPLES)
    return {name: torch.randn(shape, generator=generator, dtype=torch.float64) for name in ("short", "vowels")}


def cached(**judges: dict[str, torch.Tensor]) -> CachedSamples:
    shape = (NUM_PROMPTS, NUM_SAMPLES)
    texts = tuple(("text",) * NUM_SAMPLES for _ in range(NUM_PROMPTS))
    return CachedSamples(
        split="validation",
        prompt_ids=tuple(map(str, range(NUM_PROMPTS))),
        prompts=("prompt",) * NUM_PROMPTS,
        responses=texts,
        finish_reasons=texts,
        num_tokens=torch.ones(shape, dtype=torch.int64),
        was_cut=torch.zeros(shape, dtype=torch.bool),
        rewards=grids(0),
        gold=judges.get("gold", {}),
        evaluators=judges.get("evaluators", {}),
    )


def view(rewards: torch.Tensor, reference: float, good_from: GoodFrom = "margin") -> PropertyView:
    values = rewards.numpy().astype(np.float32)
    return PropertyView(values, np.full_like(values, reference), values - np.float32(reference), values, good_from)


def views(reference: float = 0.5) -> dict[str, PropertyView]:
    return {name: view(grid, reference) for name, grid in grids(0).items()}


def test_rewards_are_the_runs_margins_and_gold_with_all_bars_judges(config: RunConfig) -> None:
    samples = cached(gold=grids(1), evaluators=grids(2))
    found = diagnosable(config, samples, views(), {"short": 0.2, "vowels": 0.3})
    assert found.judge == "gold"
    assert found.samples is not None
    assert found.samples.bars is not None
    np.testing.assert_allclose(found.samples.rewards[0], grids(0)["short"].numpy() - 0.5, atol=1e-6)
    np.testing.assert_array_equal(found.samples.references, 0)
    np.testing.assert_array_equal(found.samples.bars[:, 3], [0.2, 0.3])


def test_held_out_models_judge_over_their_own_quantiles_and_half_a_judge_is_none(config: RunConfig) -> None:
    found = diagnosable(config, cached(gold=grids(1), evaluators=grids(2)), views(), {"short": 0.2})
    assert found.judge == "held-out models"
    assert found.samples is not None
    assert found.samples.bars is not None
    np.testing.assert_allclose(found.samples.bars[1], np.quantile(grids(2)["vowels"].numpy(), 0.85, axis=1))
    half = diagnosable(config, cached(evaluators={"short": grids(2)["short"]}), views(), {})
    assert half.judge is None
    assert half.samples is not None
    assert half.samples.scores is None


def test_without_a_reference_the_85_percent_quantile_stands_in(config: RunConfig) -> None:
    found = diagnosable(config, cached(), views(reference=0.0), {}).samples
    assert found is not None
    rewards = grids(0)["short"].numpy()
    expected = rewards.mean(1) + 1.0364 * rewards.std(1, ddof=1)
    np.testing.assert_allclose(found.references[0], expected, atol=1e-3)


def test_probabilities_are_not_diagnosed_and_the_page_says_so(config: RunConfig) -> None:
    pointwise = {**views(), "short": view(grids(0)["short"], 0.0, "log_prob")}
    found = diagnosable(config, cached(), pointwise, {})
    assert found.samples is None
    assert "short gives a probability" in page("", "", [diagnosis_section(None, found)])
    assert diagnosis_summary(None, found)["judge"] is None


def test_a_diagnosis_is_json_with_verdicts_and_a_section_with_its_coordinates() -> None:
    generator = np.random.default_rng(0)
    gold = generator.standard_normal((1, NUM_PROMPTS, NUM_SAMPLES))
    rewards = gold + 0.5 * generator.standard_normal(gold.shape)
    ones = np.ones((1, NUM_PROMPTS))
    what = Diagnosable(DiagnosedSamples(("helpful",), rewards, ones, gold, ones), "gold")
    assert what.samples is not None
    found = diagnose(what.samples)
    stored = json.loads(json.dumps(diagnosis_summary(found, what), allow_nan=False))
    assert stored["coordinates"]["properties"][0]["name"] == "helpful"
    assert all("verdict" in each for each in stored["contrasts"])
    shown = page("", "", [diagnosis_section(found, what)])
    assert "Where this run lies on the map" in shown
    assert "helpful: agreement with the judge" in shown
    assert len(contrast_rows(found)) == 3
    assert any("room above the bar" in name for name, _, _ in coordinate_rows(found))


def contrast(kl: float, value: float, half: float) -> Contrast:
    difference = Interval(value, value - half, value + half, half / 2)
    return Contrast(kl, "transform", "raw sum", "calculation", difference, 0.5, 0.01)


NOTHING = Diagnosis(96, 16, Interval(0.2, 0.1, 0.3, 0.05), None, {"LSC sum": 0.25}, (), (), ())


def test_the_answer_says_at_which_kl_what_is_ahead() -> None:
    found = replace(NOTHING, contrasts=(contrast(1.0, 0.01, 0.02), contrast(2.0, 0.2, 0.05), contrast(4.0, 0.3, 0.5)))
    assert headline(found) == (
        "Raw or log-sigmoid: this choice matters at 2 nats; it hardly matters (less than 0.05) at 1 nat; it cannot be "
        "told at 4 nats. The LSC sum against the raw sum: at 1 nat hardly any difference (+0.010 [-0.010, +0.030]); "
        "at 2 nats ahead (+0.200 [+0.150, +0.250]); at 4 nats not to be told (+0.300 [-0.200, +0.800])."
    )
    assert any("+0.010 at 1 nat, +0.010 at 2 nats" in line for line in details(found))
    assert any("Prompts, 96 now" in line for line in to_know_more(found))


def test_without_contrasts_nothing_is_said_to_be_better() -> None:
    assert "cannot be said" in headline(NOTHING)
    blind = replace(NOTHING, all_good=None, cannot=("Nobody judges.",))
    assert details(blind) == ["Nobody judges."]
    assert any(line.startswith("A judge") for line in to_know_more(blind))


def test_hidden_overrating_is_said_with_what_it_would_do() -> None:
    found = replace(NOTHING, what_if=(WhatIf(1.0, 0.003, 0.06), WhatIf(2.0, 0.003, 0.21)))
    assert any(
        "Up to 0.3 % of the answers" in line and "+0.06 at 1 nat, +0.21 at 2 nats" in line for line in details(found)
    )


def test_a_kl_without_an_answer_to_the_first_question_has_its_reason() -> None:
    rival = Contrast(4.0, "rival", "z-scored sum", "calculation", Interval(0.0, -0.02, 0.02, 0.01), 0.1)
    found = replace(NOTHING, contrasts=(rival,))
    assert any("At 4 nats the LSC sum against the raw sum has no answer" in line for line in details(found))
    known = replace(rival, question="transform")
    assert not any("has no answer" in line for line in details(replace(found, contrasts=(rival, known))))


def test_more_prompts_are_asked_for_only_where_they_narrow_the_interval() -> None:
    wide = Contrast(4.0, "transform", "raw sum", "calculation", Interval(0.0, -0.1, 0.1, 0.05), 0.3)
    asked = [
        to_know_more(replace(NOTHING, contrasts=(replace(wide, correction=correction),))) for correction in (None, 0.01)
    ]
    assert [any(line.startswith("Prompts") for line in lines) for lines in asked] == [False, True]
