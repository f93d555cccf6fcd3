"""The numbers of the check: ranks within targets, spread against noise, flatness."""

from __future__ import annotations

import numpy as np
import pytest

from experiments.preview_check.analysis import bootstrapped_correlation, grid_of, rank_correlation, spread_of


def test_ranks_are_taken_within_each_target_so_that_kl_alone_earns_nothing() -> None:
    # achieved rises with the target, and is the reverse of the prediction within each
    predicted = np.array([[1.0, 2.0, 3.0], [11.0, 12.0, 13.0]])
    assert rank_correlation(predicted, predicted) == pytest.approx(1.0)
    assert rank_correlation(predicted, predicted[:, ::-1]) == pytest.approx(-1.0)


def test_pooled_ranks_by_hand() -> None:
    # target 1: ranks (1, 2, 3) and (1, 3, 2): centred product 1; target 2: equal ranks: 2; squares 4 and 4
    predicted = np.array([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]])
    achieved = np.array([[0.1, 0.3, 0.2], [0.7, 0.8, 0.9]])
    assert rank_correlation(predicted, achieved) == pytest.approx((1 + 2) / 4)


def test_the_bootstrap_holds_the_value_and_widens_when_settings_are_resampled() -> None:
    generator = np.random.default_rng(0)
    truth = generator.normal(size=(3, 8, 1))
    predicted, achieved = (truth + generator.normal(size=(3, 8, 60)) for _ in range(2))
    both = bootstrapped_correlation(predicted, achieved, num_resamples=200)
    prompts = bootstrapped_correlation(predicted, achieved, num_resamples=200, resample_settings=False)
    assert both.low < both.value <= both.high
    assert both.value == prompts.value == pytest.approx(rank_correlation(predicted.mean(-1), achieved.mean(-1)))
    assert both.high - both.low > prompts.high - prompts.low


def test_spread_and_noise_of_known_size() -> None:
    generator = np.random.default_rng(0)
    settings = np.array([[-0.1], [0.0], [0.1]])
    found = spread_of(settings + 0.5 * generator.normal(size=(3, 400)), num_resamples=400)
    assert found.noise == pytest.approx(0.5 / 20, rel=0.15)  # the standard error of each setting, 0.5 / sqrt 400
    assert found.spread == pytest.approx(0.1, abs=0.04)
    assert 0.8 < found.reliability < 1


def test_settings_of_one_true_rate_spread_as_their_noise_says() -> None:
    generator = np.random.default_rng(2)
    found = [spread_of(generator.normal(size=(3, 60)), num_resamples=60) for _ in range(400)]
    assert np.mean([one.noise**2 for one in found]) == pytest.approx(np.mean([one.spread**2 for one in found]), rel=0.1)


def test_pure_noise_has_no_reliability_to_speak_of() -> None:
    noise = np.random.default_rng(1).normal(size=(8, 400))
    assert spread_of(noise, num_resamples=400).reliability < 0.6


def test_an_unfinished_check_is_refused_by_the_missing_setting() -> None:
    entries = [
        {"setting": name, "target_kl": target, "predicted": {"by_prompt": {"kl": [0.0]}}}
        for name, target in (("a", 1.0), ("b", 1.0), ("a", 2.0))
    ]
    with pytest.raises(ValueError, match="setting b has no result at 2 nats"):
        grid_of(entries, "predicted", "kl")
