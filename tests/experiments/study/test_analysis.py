import numpy as np
import pytest
import scipy.stats

from experiments.study.analysis import curve, matched_difference, paired


def test_a_curve_interpolates_between_its_points_and_never_beyond() -> None:
    found = curve([(2.0, 0.5), (0.0, 0.1), (1.0, 0.3)])
    assert found.at(0.5) == pytest.approx(0.2)
    assert found.at(2.0) == pytest.approx(0.5)
    assert found.at(2.1) is None
    with pytest.raises(ValueError, match="at least 2 points"):
        curve([(1.0, 0.2)])


def test_the_interval_is_that_of_the_paired_t_test() -> None:
    values = np.array([0.1, 0.3, -0.05, 0.2, 0.15])
    found = paired(values)
    expected = scipy.stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    assert (found.mean, found.low, found.high) == pytest.approx((0.14, expected.low, expected.high))


def test_a_true_difference_of_the_detectable_size_is_found_in_four_of_five_studies() -> None:
    generator = np.random.default_rng(0)
    sizes = [paired(generator.normal(0.0, 1.0, 8)).detectable for _ in range(500)]
    found = [paired(generator.normal(float(np.mean(sizes)), 1.0, 8)).low > 0 for _ in range(2000)]
    assert 0.74 < np.mean(found) < 0.88


def test_seeds_that_do_not_reach_the_kl_are_left_out() -> None:
    short = curve([(0.0, 0.0), (0.5, 0.1)])
    first = [curve([(0.0, 0.0), (2.0, 1.0)])] * 3
    second = [short, curve([(0.0, 0.0), (2.0, 0.4)]), curve([(0.0, 0.0), (2.0, 0.6)])]
    found = matched_difference(first, second, 1.0)
    assert found is not None
    assert found.num_seeds == 2
    assert found.mean == pytest.approx(0.25)  # 0.5 - 0.2 and 0.5 - 0.3
    assert matched_difference(first, [short] * 3, 1.0) is None
