"""What every scorer returns."""

import numpy as np

from allgood.scorers.scorer import nan_if_infinite


def test_an_infinite_reward_is_a_failed_one_and_others_stay():
    rewards = np.array([1.5, np.inf, -np.inf, np.nan, 0.0], dtype=np.float32)
    found = nan_if_infinite(rewards)
    np.testing.assert_array_equal(found, np.array([1.5, np.nan, np.nan, np.nan, 0.0], dtype=np.float32))
    assert found.dtype == np.float32
