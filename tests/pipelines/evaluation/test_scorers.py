"""What learned scorers say, from arrays small enough to work out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from allgood.tilting import tilt
from allgood.treatment import Treatment
from pipelines.config.properties import ClassifierProperty, FunctionProperty, Property
from pipelines.evaluation.efficiency import Efficiency, from_utilities
from pipelines.evaluation.scorers import (
    fresh_view,
    sft_quantile,
    sft_share_over,
    share_over,
)
from pipelines.references.treatments import fresh_treatment


def test_the_bar_of_evaluator_2_is_the_prompts_own_quantile() -> None:
    scores = np.arange(22.0).reshape(2, 11)  # prompt 0: 0..10, prompt 1: 11..21
    assert sft_quantile(scores, 0.85).tolist() == [8.5, 19.5]


def test_with_few_samples_the_bar_is_the_prompts_mean_plus_a_shared_deviation() -> None:
    scores = np.array([[0.0, 2.0], [100.0, 102.0]])  # deviations -1, 1, -1, 1
    assert sft_quantile(scores, 1.0).tolist() == [2.0, 102.0]


@pytest.mark.parametrize(("num_samples", "quantile"), [(16, 0.95), (8, 0.85), (4, 0.85)])
def test_the_sft_policy_is_over_its_bar_as_often_as_a_policy_that_equals_it(num_samples: int, quantile: float) -> None:
    generator = np.random.default_rng(0)
    sft, fresh = generator.normal(size=(4_000, num_samples)), generator.normal(size=(4_000, num_samples))
    expected = share_over(fresh, sft_quantile(sft, quantile)).mean()
    assert sft_share_over(sft, quantile).mean() == pytest.approx(expected, abs=0.02)
    if num_samples == 16:  # where a sample's part in its own bar costs most
        assert share_over(sft, sft_quantile(sft, quantile)).mean() < expected - 0.03


def test_the_share_of_the_sft_policy_by_hand_and_with_failed_scores() -> None:
    assert sft_share_over(np.array([[1.0, 2.0]]), 0.5).tolist() == [0.5]  # 1 is under the bar 2, 2 over the bar 1
    assert np.isnan(sft_share_over(np.array([[1.0]]), 0.5)).all()
    scores = np.array([[*range(8), np.nan]], dtype=float)
    assert sft_share_over(scores, 1.0).tolist() == [1 / 8]  # 7 alone is over all others
    assert np.isnan(sft_share_over(np.array([[1.0, *[np.nan] * 8]]), 0.5)).all()  # nothing to be compared with


def test_share_over_a_bar_counts_ties_half_and_leaves_out_failures() -> None:
    scores = np.array([[1.0, 2.0, 3.0], [np.nan, 3.0, 0.0], [np.nan] * 3])
    shares = share_over(scores, np.array([2.0, 2.0, 2.0]))
    assert shares[:2].tolist() == [0.5, 0.5]
    assert np.isnan(shares[2])
    assert np.isnan(share_over(np.array([[1.0, 2.0]]), np.array([np.nan]))).all()  # no bar, so nothing is over it


def function(transform: dict[str, str], reference: dict[str, object]) -> FunctionProperty:
    return FunctionProperty.model_validate(
        {"kind": "function", "function": "m:f", "transform": transform, "reference": reference}
    )


def test_a_fresh_p_good_is_what_the_property_says_whatever_its_transform() -> None:
    def found(setting: Property, rewards: list[list[float]], sft: list[list[float]]) -> list[float]:
        ids = [f"p{index}" for index in range(len(rewards))]
        treatment = fresh_treatment(setting, ids, np.array(sft), None, key="evaluation", temperature=1.0)
        return fresh_view(treatment, np.array(rewards), ids).p_good.ravel().tolist()

    log_p = [[np.log(0.2), np.log(0.9), np.nan]]  # sigma(log p) = p / (1 + p) would say 0.167 and 0.474
    for setting in (
        ClassifierProperty(kind="classifier", model="judge"),
        function({"kind": "log_prob"}, {"kind": "none"}),
    ):
        assert found(setting, log_p, [[0.0]]) == pytest.approx([0.2, 0.9, np.nan], nan_ok=True)
    plain = function({"kind": "log_sigmoid"}, {"kind": "constant", "value": 1.0})
    assert found(plain, [[1.0, 3.0]], [[0.0]]) == pytest.approx([0.5, 0.880797])
    raw = function({"kind": "identity"}, {"kind": "constant", "value": 1.0})
    assert found(raw, [[1.0, 3.0]], [[0.0]]) == pytest.approx([0.5, 0.880797])
    drawn = function({"kind": "log_mean_sigmoid"}, {"kind": "draws", "num": 2})
    # mean of sigma(1) and sigma(-3); of the second prompt a draw has failed
    assert found(drawn, [[1.0], [1.0]], [[0.0, 4.0, 9.0], [0.0, np.nan, 9.0]]) == pytest.approx(
        [(0.731059 + 0.047426) / 2, np.nan], nan_ok=True, rel=1e-5
    )


def test_margins_are_centred_and_divided_and_missing_scores_stay_missing() -> None:
    raw = Treatment(transform="z_score", references={"x": 1.0, "y": 2.0}, temperature=2.0)  # without moments
    margins = fresh_view(raw, np.array([[0.0, np.nan], [2.0, 4.0]]), ["x", "y"]).margins
    assert margins.ravel().tolist() == pytest.approx([-0.5, np.nan, 0.0, 1.0], nan_ok=True)


def test_a_policy_that_is_the_tilt_has_efficiency_one_and_half_the_gain_is_one_half() -> None:
    utilities = np.random.default_rng(0).normal(size=(50, 256))
    tilted = tilt(torch.from_numpy(utilities), 1.0)
    kl, mean = float(tilted.kl.mean()), float(tilted.expect(torch.from_numpy(utilities)).mean())
    full = from_utilities(utilities, mean_utility=mean, kl=kl)
    assert isinstance(full, Efficiency)
    assert full.value == pytest.approx(1.0, abs=1e-6)
    assert full.gamma == pytest.approx(1.0, rel=1e-3)
    assert full.reliable
    half = from_utilities(utilities, mean_utility=(mean + utilities.mean()) / 2, kl=kl)
    assert isinstance(half, Efficiency)
    assert half.value == pytest.approx(0.5, abs=1e-6)


def test_a_kl_that_the_samples_cannot_show_has_no_efficiency_but_a_reason() -> None:
    utilities = np.random.default_rng(0).normal(size=(5, 4))
    found = from_utilities(utilities, mean_utility=1.0, kl=2.0)  # log 4 = 1.39
    assert isinstance(found, str)
    assert "4 samples" in found
