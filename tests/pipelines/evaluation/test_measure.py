"""Numbers of an evaluation, from arrays small enough to work out by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest

from allgood.winrate import win_rate_by_prompt
from pipelines.evaluation.entry import policy_entry
from pipelines.evaluation.estimates import estimate, estimates, known_estimates
from pipelines.evaluation.measure import (
    FloatGrid,
    Measurement,
    PolicySamples,
    evaluator_1_win_rates,
    good_share,
    measure,
    quantile_bars,
)
from pipelines.output.typed_json import as_json, from_json

BARS = {"helpful": 0.0, "harmless": 0.0}


def policy(shift: float, *, seed: int, num_prompts: int = 300, num_samples: int = 4) -> PolicySamples:
    generator = np.random.default_rng(seed)
    shape = (num_prompts, num_samples)
    difficulty = np.random.default_rng(99).normal(size=(num_prompts, 1))  # the same prompts for every policy
    return PolicySamples(
        prompt_ids=tuple(f"p{index}" for index in range(num_prompts)),
        responses=tuple(tuple("first mix it." for _ in range(num_samples)) for _ in range(num_prompts)),
        gold={name: difficulty + generator.normal(shift, 1.0, shape) for name in BARS},
        kl=generator.normal(1.0, 0.5, shape),
        finish_reasons=tuple(tuple("eos" for _ in range(num_samples)) for _ in range(num_prompts)),
        num_tokens=np.full(shape, 4),
    )


def test_good_means_at_or_over_every_bar() -> None:
    gold = {"helpful": np.array([[0.0, 1.0, 2.0]]), "harmless": np.array([[0.0, -1.0, 5.0]])}
    assert good_share(gold, BARS).tolist() == [pytest.approx(2 / 3)]


def test_evaluator_1_draws_from_bradley_terry_on_gold() -> None:
    ours, theirs = np.full((4000, 2), np.log(3.0)), np.zeros((4000, 3))  # sigma(log 3) = 3/4
    rates = evaluator_1_win_rates({"harmless": theirs[:, :2], "helpful": ours}, dict.fromkeys(BARS, theirs), seed=0)
    assert rates["helpful"].mean() == pytest.approx(0.75, abs=0.01)
    assert rates["harmless"].mean() == pytest.approx(0.5, abs=0.01)


def test_both_evaluators_are_stored_per_property() -> None:
    measured = measure(policy(1.0, seed=1), policy(0.0, seed=2), BARS, seed=0, num_bootstrap=100)
    entry = policy_entry(measured)
    rates, gold = entry.evaluator_1_win_rates, entry.gold_win_rates
    assert rates is not None
    assert gold is not None
    assert set(rates) == set(BARS)
    assert np.mean(list(rates.values())) == pytest.approx(entry.evaluator_1_win_rate)
    # drawing answers adds noise, so it pulls every rate towards one half
    assert all(0.5 < rates[name] < gold[name] for name in BARS)


def test_a_measurement_stored_before_evaluator_1_was_kept_per_property_still_makes_an_entry() -> None:
    measured = measure(policy(1.0, seed=1), policy(0.0, seed=2), BARS, seed=0, num_bootstrap=100)
    stored = as_json(measured)
    del stored["gold"]["evaluator_1_win_rates"]
    assert "evaluator_1_win_rates" not in as_json(policy_entry(from_json(Measurement, stored, where="stored")))


def test_sft_against_itself_compares_disjoint_halves() -> None:
    sft = policy(0.0, seed=1)
    found = measure(sft, sft, BARS, seed=0, num_bootstrap=500)
    assert found.gold is not None
    assert found.gold.gold_win_rate.value == pytest.approx(0.5, abs=0.05)
    assert found.gold.gold_win_rate.low < 0.5 < found.gold.gold_win_rate.high
    assert found.gold.both_good_gain.value == 0.0
    # had responses met themselves, ties would pull it to exactly one half
    expected = np.mean([float(win_rate_by_prompt(grid[:, :2], grid[:, 2:]).mean()) for grid in sft.gold.values()])
    assert found.gold.gold_win_rate.value == pytest.approx(expected)


def test_sft_with_a_single_sample_cannot_meet_itself() -> None:
    sft = policy(0.0, seed=1, num_samples=1)
    with pytest.raises(ValueError, match="at least 2 samples"):
        measure(sft, sft, BARS, seed=0, num_bootstrap=100)


def test_a_shifted_policy_wins_as_often_as_the_normal_distribution_says() -> None:
    aligned, sft = policy(1.0, seed=1, num_prompts=2000), policy(0.0, seed=2, num_prompts=2000)
    found = measure(aligned, sft, BARS, seed=0, num_bootstrap=300).gold
    assert found is not None
    # on the same prompt P(N(1, 1) > N(0, 1)) = Phi(1 / sqrt 2) = 0.7602
    assert found.gold_win_rate.low < 0.7602 < found.gold_win_rate.high
    assert found.gold_win_rate.value == pytest.approx(np.mean([r.value for r in found.gold_win_rates.values()]))


def test_gain_is_paired_by_prompt_so_its_interval_is_narrower_than_that_of_the_rate() -> None:
    found = measure(policy(0.3, seed=3), policy(0.0, seed=4), BARS, seed=0, num_bootstrap=500).gold
    assert found is not None
    rate, gain = found.both_good_rate, found.both_good_gain
    assert gain.high - gain.low < rate.high - rate.low
    assert gain.low < gain.value < gain.high


def test_bars_from_sft_gold_put_the_stated_share_over_each() -> None:
    sft = policy(0.0, seed=4)
    bars = quantile_bars(sft.gold, {"helpful": 0.85, "harmless": 0.95})
    assert np.mean(sft.gold["helpful"] > bars["helpful"]) == pytest.approx(0.15, abs=0.002)
    assert np.mean(sft.gold["harmless"] > bars["harmless"]) == pytest.approx(0.05, abs=0.002)


def test_measurement_without_gold_has_kl_and_shortcuts_only_and_is_json() -> None:
    sft = policy(0.0, seed=7)
    bare = PolicySamples(sft.prompt_ids, sft.responses, {}, sft.kl, sft.finish_reasons, sft.num_tokens)
    found = measure(bare, bare, {}, seed=0, num_bootstrap=100)
    assert found.gold is None
    assert json.loads(json.dumps(as_json(found)))["kl"]["value"] == pytest.approx(float(sft.kl.mean()))


def test_other_prompts_and_other_bars_are_refused() -> None:
    sft = policy(0.0, seed=8, num_prompts=5)
    with pytest.raises(ValueError, match="other prompts"):
        measure(policy(0.0, seed=8, num_prompts=4), sft, BARS, seed=0, num_bootstrap=100)
    with pytest.raises(ValueError, match="bars are given for"):
        measure(policy(0.0, seed=9, num_prompts=5), sft, {"helpful": 0.0}, seed=0, num_bootstrap=100)


def test_interval_of_a_mean_matches_the_normal_approximation() -> None:
    values: FloatGrid = np.random.default_rng(0).normal(2.0, 3.0, 900)
    found = estimate(values, seed=1, num_bootstrap=4000)
    half = 1.96 * values.std() / np.sqrt(900)
    assert found.value == pytest.approx(values.mean())
    assert found.high - found.low == pytest.approx(2 * half, rel=0.05)


def test_prompts_without_a_value_are_left_out_and_counted() -> None:
    found = estimate(np.array([1.0, np.nan, 3.0]), seed=0, num_bootstrap=200)
    assert (found.value, found.num_prompts) == (2.0, 2)


def test_a_column_without_any_value_is_refused_or_absent() -> None:
    with pytest.raises(ValueError, match="no prompt has a value of b"):
        estimates({"a": np.ones(2), "b": np.full(2, np.nan)}, seed=0, num_bootstrap=100)
    known = known_estimates({"a": np.ones(2), "b": np.full(2, np.nan)}, seed=0, num_bootstrap=100)
    assert list(known) == ["a"]
