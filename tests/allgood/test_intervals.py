import math
import time

import numpy as np
import pytest
import scipy.stats
import torch

from allgood.intervals import cluster_bootstrap, smallest_detectable, t_interval


def test_bootstrap_agrees_with_the_standard_error_of_the_prompt_means():
    values = torch.randn(300, 4, generator=torch.Generator().manual_seed(0)) + torch.randn(
        300, 1, generator=torch.Generator().manual_seed(1)
    )
    found = cluster_bootstrap(values, seed=0)
    error = float(values.double().mean(1).std()) / math.sqrt(300)
    assert found.value == pytest.approx(float(values.double().mean()))
    assert found.standard_error == pytest.approx(error, rel=0.05)
    assert (found.low, found.high) == pytest.approx((found.value - 1.96 * error, found.value + 1.96 * error), abs=0.02)


def test_samples_of_a_prompt_are_not_independent_evidence():
    means = torch.randn(50, 1, generator=torch.Generator().manual_seed(0))
    assert cluster_bootstrap(means.expand(50, 40), seed=0) == cluster_bootstrap(means[:, 0], seed=0)


def test_the_interval_covers_the_truth_as_often_as_it_says():
    generator = torch.Generator().manual_seed(0)
    intervals = [
        cluster_bootstrap(torch.randn(60, generator=generator), seed=generator, num_resamples=400) for _ in range(300)
    ]
    assert np.mean([interval.low <= 0 <= interval.high for interval in intervals]) == pytest.approx(0.95, abs=0.04)


def test_equal_seeds_give_equal_intervals_and_a_generator_is_advanced():
    values = [[0.0, 1.0], [1.0, 1.0], [0.5, 0.0]]
    assert cluster_bootstrap(values, seed=3) == cluster_bootstrap(np.array(values), seed=3)
    generator = torch.Generator().manual_seed(3)
    first, second = (
        cluster_bootstrap(torch.rand(40, generator=torch.Generator().manual_seed(1)), seed=generator) for _ in range(2)
    )
    assert first.low != second.low


def test_many_prompts_are_resampled_in_pieces():
    found = cluster_bootstrap(torch.rand(50_000, generator=torch.Generator().manual_seed(0)), seed=0, num_resamples=200)
    assert found.standard_error == pytest.approx(math.sqrt(1 / 12 / 50_000), rel=0.2)


def test_300_prompts_take_well_under_a_second():
    values = torch.rand(300, 4)
    started = time.process_time()
    cluster_bootstrap(values, seed=0)
    assert time.process_time() - started < 1


def test_a_single_prompt_shows_no_spread():
    found = cluster_bootstrap([[0.0, 1.0]], seed=0)
    assert found.value == 0.5
    assert math.isnan(found.low)
    assert math.isnan(found.standard_error)


def test_lists_are_read_in_double_precision():
    assert t_interval([16_777_217.0] * 3).value == 16_777_217.0  # 2^24 + 1, which float32 cannot hold
    assert cluster_bootstrap([[16_777_217.0]], seed=0).value == 16_777_217.0


def test_t_interval_agrees_with_scipy():
    values = [1.0, 2.0, 4.0, 4.5]
    found = t_interval(values)
    expected = scipy.stats.ttest_1samp(values, 0).confidence_interval()
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert found.value == 2.875


def test_the_smallest_detectable_difference_has_the_power_it_says():
    difference = smallest_detectable(1 / math.sqrt(5), 5)
    draws = np.random.default_rng(0).normal(difference, 1, size=(20_000, 5))
    found = (scipy.stats.ttest_1samp(draws, 0, axis=1).pvalue < 0.05).mean()
    assert found == pytest.approx(0.8, abs=0.05)  # the usual approximation of the noncentral t


def test_bad_input_is_refused():
    for call, message in [
        (lambda: cluster_bootstrap([], seed=0), "values must be non-empty"),
        (lambda: cluster_bootstrap(torch.zeros(1, 2, 3), seed=0), "values must be non-empty"),
        (lambda: cluster_bootstrap([math.nan], seed=0), "values must be finite"),
        (lambda: cluster_bootstrap([1.0], seed=0, confidence=0), "confidence must lie"),
        (lambda: cluster_bootstrap([1.0, 2.0], seed=0, num_resamples=0), "num_resamples must be at least 1"),
        (lambda: t_interval([1.0]), "at least 2"),
        (lambda: t_interval([1.0, math.inf]), "values must be finite"),
        (lambda: smallest_detectable(-1, 5), "standard_error must be finite and at least 0"),
        (lambda: smallest_detectable(1, 1), "num_repetitions must be at least 2"),
        (lambda: smallest_detectable(1, 5, power=1), r"power must lie in \(0, 1\)"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()
