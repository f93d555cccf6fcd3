"""Tilts by number of samples and at equal utility, on grids whose answers are known."""

from __future__ import annotations

import math

import pytest
import torch

from experiments.open_world.exploration import rates_by_samples, tilt_at_utility

UTILITIES = torch.tensor([[0.0, 1.0]]).double()
GOOD = torch.tensor([[0.0, 1.0]]).double()


def test_the_tilt_at_a_utility_reaches_it() -> None:
    # of utilities 0 and 1 the mean is the weight of the better one: 0.8, so KL = 0.8 log 1.6 + 0.2 log 0.4
    found = tilt_at_utility(UTILITIES, GOOD, 0.8)
    assert found is not None
    assert found["all_good"] == pytest.approx(0.8, abs=1e-4)
    assert found["kl"] == pytest.approx(0.8 * math.log(1.6) + 0.2 * math.log(0.4), abs=1e-4)


def test_a_utility_below_the_start_or_above_the_best_has_no_tilt() -> None:
    assert tilt_at_utility(UTILITIES, GOOD, 0.4) is None
    assert tilt_at_utility(UTILITIES, GOOD, 1.1) is None


def test_repeated_samples_give_the_same_rate_at_every_number_of_them() -> None:
    utilities, good = UTILITIES.repeat(3, 8), GOOD.repeat(3, 8)
    rates = rates_by_samples(utilities, good, 0.1)
    assert list(rates) == ["4", "8", "16"]
    assert rates["4"] == pytest.approx(rates["16"], abs=1e-4)
