"""The worst tenth of the prompts, without the luck of the samples that find it."""

from __future__ import annotations

import numpy as np
import pytest

from experiments.open_world.measure import worst_tenth

BARS = {"helpful": 0.0}


def gold(good: np.ndarray) -> dict[str, np.ndarray]:
    """Gold over the bar where `good`."""
    return {"helpful": np.where(good, 1.0, -1.0)}


def test_the_worst_tenth_by_hand() -> None:
    # 10 prompts x 4 samples: prompt 0 is good in one even sample of two, never in odd ones; the others always
    good = np.ones((10, 4), dtype=bool)
    good[0] = [True, False, False, False]
    # even samples (rate 1/2, lowest) find prompt 0, whose odd ones are 0; odd samples (0) find it, even ones are 1/2
    assert worst_tenth(gold(good), BARS) == pytest.approx((0.0 + 0.5) / 2)


def test_prompts_that_are_alike_count_alike() -> None:
    good = np.zeros((20, 4), dtype=bool)
    good[:10, 1::2] = True  # by even samples all prompts are equally bad, so their odd ones are averaged: 1/2
    # by odd samples ten prompts are worst, and their even ones are never good
    assert worst_tenth(gold(good), BARS) == pytest.approx((0.5 + 0.0) / 2)


def test_where_all_prompts_are_equally_good_the_worst_tenth_is_as_good_as_the_mean() -> None:
    good = np.random.default_rng(0).random((2000, 8)) < 0.3
    assert worst_tenth(gold(good), BARS) == pytest.approx(0.3, abs=0.03)
