from __future__ import annotations

import math

import numpy as np
import pytest

from pipelines.data import Pair
from pipelines.training.reward_report import ScoredPairs, log_loss, mean_interval, reliability_plot, reward_report


def scored(differences: list[float], *, lengths: list[tuple[int, int]] | None = None, prompts: list[str] | None = None):
    count = len(differences)
    lengths = lengths or [(4, 2)] * count
    names = prompts or [f"p{index}" for index in range(count)]
    pairs = [
        Pair(name, "", "x" * chosen, "x" * rejected, None, "test")
        for name, (chosen, rejected) in zip(names, lengths, strict=True)
    ]
    return ScoredPairs.of(
        pairs, chosen=np.array(differences, dtype=np.float32), rejected=np.zeros(count, dtype=np.float32)
    )


def test_accuracy_counts_ties_half():
    report = reward_report(scored([1.0]), scored([2.0, -1.0, 0.0, 3.0]), num_bootstrap=50)
    assert report["accuracy"] == 2.5 / 4


def test_longer_wins_stands_beside_the_accuracy():
    # The model is right on the first three; the longer answer is on the first only, and a tie on the last.
    test = scored([1.0, 1.0, 1.0, -1.0], lengths=[(9, 3), (3, 9), (3, 9), (5, 5)])
    report = reward_report(scored([1.0]), test, num_bootstrap=50)
    assert report["accuracy"] == 0.75
    assert report["longer_wins_accuracy"] == 1.5 / 4
    assert report["gain_over_longer_wins"] == 1.5 / 4


def test_pairs_of_similar_length_are_those_below_a_ratio_of_six_fifths():
    test = scored([1.0, -1.0, 1.0, 1.0], lengths=[(12, 10), (119, 100), (100, 119), (10, 12)])
    similar = reward_report(scored([1.0]), test, num_bootstrap=50)["similar_length"]
    assert similar["pairs"] == 2
    assert similar["accuracy"] == 0.5
    assert similar["longer_wins_accuracy"] == 0.5
    assert reward_report(scored([1.0]), scored([1.0, 2.0]), num_bootstrap=50)["similar_length"] is None


def test_log_loss_by_hand():
    assert log_loss(np.array([0.0])) == pytest.approx(math.log(2))
    assert log_loss(np.array([2.0, -2.0])) == pytest.approx(1 + math.log1p(math.exp(-2)))
    assert np.isfinite(log_loss(np.array([1e4, -1e4])))


def test_the_temperature_of_rewards_that_are_three_times_too_large_is_three():
    generator = np.random.default_rng(0)
    truth = generator.normal(size=20_000) * 1.5
    wins = generator.random(20_000) < 1 / (1 + np.exp(-truth))
    differences = 3 * np.where(wins, truth, -truth)
    report = reward_report(scored(differences.tolist()), scored(differences.tolist()), num_bootstrap=50)
    assert report["temperature"] == pytest.approx(3.0, rel=0.05)
    assert report["expected_calibration_error_at_temperature"] < 0.02 < report["expected_calibration_error"]
    assert report["log_loss_at_temperature"] < report["log_loss"]


def test_the_interval_resamples_prompts_not_pairs():
    generator = np.random.default_rng(1)
    by_prompt = (generator.random(100) < 0.7).astype(float)
    values, prompts = np.repeat(by_prompt, 8), [f"p{index}" for index in range(100) for _ in range(8)]
    low, high = mean_interval(values, prompts, num_bootstrap=4000, seed=0)
    # All 8 pairs of a prompt agree, so the standard error is that of 100 trials, not of 800.
    error = by_prompt.std() / 10
    assert high - low == pytest.approx(2 * 1.96 * error, rel=0.1)
    assert low < values.mean() < high


def test_clusters_of_unlike_size_weigh_by_their_rows():
    values = np.array([1.0] * 9 + [0.0])
    low, high = mean_interval(values, ["a"] * 9 + ["b"], num_bootstrap=2000, seed=0)
    assert (low, high) == (0.0, 1.0)
    assert mean_interval(values, ["a"] * 10, num_bootstrap=10, seed=0) is None


def test_the_plot_is_a_png(tmp_path):
    differences = np.random.default_rng(0).normal(0.5, 1.0, size=300).tolist()
    report = reward_report(scored(differences), scored(differences), num_bootstrap=50)
    reliability_plot(report | {"property": "helpful"}, tmp_path / "reliability.png")
    assert (tmp_path / "reliability.png").read_bytes()[:4] == b"\x89PNG"
