"""Predictions of one setting against the plain formulas."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from allgood.best_of_k import best_of_k
from allgood.opponents import both_win_shares, weighted_win_rate, win_shares
from allgood.tilting import tilt
from pipelines.config.properties import FunctionProperty, ModelProperty, Property
from pipelines.preview.frontier import best_within, headline_of, pareto_front
from pipelines.preview.measures import FEW_FOLDS, Measures
from pipelines.preview.predict import Levels, Prediction, SameUtilities, largest_k, predict


def grid(seed: int, num_prompts: int = 40, num_samples: int = 32) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(num_prompts, num_samples, generator=generator, dtype=torch.float64)


@pytest.fixture
def measures() -> Measures:
    gold = {"a": grid(1), "b": grid(2)}

    def wins(num_folds: int) -> Tensor:
        single = [win_shares(scores, num_folds=num_folds) for scores in gold.values()]
        return torch.stack([*single, both_win_shares(gold, num_folds=num_folds)], dim=2)

    return Measures(
        names=("both_good_rate", "length"),
        values=torch.stack([(gold["a"] > 0).double() * (gold["b"] > 0), grid(3)], dim=-1),
        comparisons=("gold_win_rate.a", "gold_win_rate.b", "both_win_rate"),
        wins=wins(32),
        few_wins=wins(FEW_FOLDS),
    )


def test_a_tilt_is_predicted_as_its_formulas_say(measures: Measures) -> None:
    utilities = grid(1) + grid(2)
    (found,) = predict(utilities, Levels([], [1.5], []), measures, headline="both_good_rate")
    tilted = tilt(utilities, 1.5)
    assert found.gamma == 1.5
    assert found.numbers["kl"] == pytest.approx(float(tilted.kl.mean()))
    good = tilted.expect(measures.values[..., 0])
    assert found.numbers["both_good_rate"] == pytest.approx(float(good.mean()))
    assert found.numbers["both_good_rate_se"] == pytest.approx(float(good.std() / 40**0.5))
    assert found.by_prompt is not None
    torch.testing.assert_close(found.by_prompt, good)
    rates = [float(weighted_win_rate(tilted.weights, win_shares(grid(seed))).mean()) for seed in (1, 2)]
    assert found.numbers["gold_win_rate.a"] == pytest.approx(rates[0])
    assert found.numbers["gold_win_rate"] == pytest.approx(sum(rates) / 2)
    assert found.numbers["utility_gain"] == pytest.approx(float((tilted.expect(utilities) - utilities.mean(-1)).mean()))


def test_best_of_k_is_predicted_for_every_k_within_reach(measures: Measures) -> None:
    utilities = grid(1)
    found = predict(utilities, Levels([], [], [2, 8, 24, 32]), measures, headline="both_good_rate")
    assert largest_k(32) == 24
    assert [prediction.k for prediction in found] == [2, 8, 24]
    expected = best_of_k(utilities, measures.values[..., 1])
    for prediction in found:
        assert prediction.k is not None
        assert prediction.numbers["length"] == pytest.approx(float(expected[prediction.k - 1]))
        assert prediction.numbers["gold_win_rate.a"] == pytest.approx(prediction.k / (prediction.k + 1), abs=0.02)


def test_targets_are_solved_and_those_out_of_reach_are_marked_with_the_reason(measures: Measures) -> None:
    reached, beyond = predict(grid(1), Levels([0.05, 5.0], [], []), measures, headline="both_good_rate")
    assert reached.numbers["kl"] == pytest.approx(0.05, abs=1e-6)
    assert reached.problem is None
    assert reached.reliable
    assert beyond.numbers == {}
    assert not beyond.reliable
    assert "all that 32 samples per prompt can show" in str(beyond.problem)


def test_a_kl_that_the_samples_do_not_support_is_predicted_and_flagged(measures: Measures) -> None:
    (found,) = predict(grid(1), Levels([2.0], [], []), measures, headline="both_good_rate")
    assert found.numbers
    assert not found.reliable


def test_utilities_that_differ_by_a_constant_per_prompt_are_the_same() -> None:
    same = SameUtilities()
    assert same.first_like(0, grid(1)) == 0
    assert same.first_like(1, grid(2)) == 1
    assert same.first_like(2, grid(1) + grid(3)[:, :1]) == 0
    assert same.first_like(3, 2 * grid(1)) == 3


def prediction(kl: float, value: float, *, reliable: bool = True, spread: float = 0.0) -> Prediction:
    by_prompt = value + spread * (grid(4)[0] - grid(4)[0].mean())
    return Prediction("tilt", reliable=reliable, numbers={"kl": kl, "good": value}, by_prompt=by_prompt)


def test_the_front_holds_what_no_other_beats_in_kl_and_worth() -> None:
    found = [
        prediction(1.0, 0.5),
        prediction(0.5, 0.4),
        prediction(1.2, 0.45),
        prediction(2.0, 0.9, reliable=False),
        prediction(0.5000001, 0.3),
        Prediction("tilt", problem="out of reach"),
    ]
    assert pareto_front(found, "good") == [1, 0]


def test_the_best_within_a_budget_comes_with_the_best_that_the_samples_support() -> None:
    found = [prediction(0.4, 0.3), prediction(0.9, 0.6, reliable=False), prediction(3.0, 0.9), prediction(0.9, 0.2)]
    best = best_within(found, 1.0, "good")
    assert best is not None
    assert (best.position, best.reliable, best.num_within) == (1, 0, 3)
    assert best_within(found, 0.1, "good") is None


def test_settings_that_these_prompts_cannot_tell_from_the_best_are_counted() -> None:
    found = [prediction(1.0, 0.50), prediction(1.0, 0.49, spread=0.2), prediction(1.0, 0.1, spread=0.01)]
    best = best_within(found, 1.0, "good")
    assert best is not None
    assert best.num_alike == 1
    assert best.honest_value < 0.51


def test_settings_are_ranked_by_gold_else_held_out_evaluators_else_reward_models() -> None:
    trained: dict[str, Property] = {"a": ModelProperty(kind="model", model="m")}
    assert headline_of(["gold_win_rate.a"], ["both_good_rate"], trained) == "both_good_rate"
    assert headline_of(["evaluator_win_rate.a", "reward_win_rate.a"], [], trained) == "evaluator_win_rate"
    assert headline_of(["reward_win_rate.a"], [], trained) == "reward_win_rate"


def test_evaluators_rank_only_where_every_trained_reward_has_one() -> None:
    comparisons = ["evaluator_win_rate.a", "reward_win_rate.a", "reward_win_rate.b"]
    trained = ModelProperty(kind="model", model="m")
    function = FunctionProperty(kind="function", function="module:function")
    assert headline_of(comparisons, [], {"a": trained, "b": trained}) == "reward_win_rate"  # else b would be neglected
    assert headline_of(comparisons, [], {"a": trained, "b": function}) == "evaluator_win_rate"  # b can have none
