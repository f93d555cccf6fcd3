"""What is measured over prompts, by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from allgood.idealised.measures import best_rate, share_not_improved, standard_error, worst_tenth
from allgood.idealised.prompts import Prompts


def test_worst_tenth_is_the_mean_of_the_lowest_tenth_of_the_prompts() -> None:
    rates = np.linspace(0, 1, 20)[::-1].reshape(1, 20, 1)
    assert worst_tenth(rates)[0, 0] == pytest.approx(0.5 / 19)  # the mean of 0 and 1/19


def test_a_prompt_is_improved_when_all_its_properties_are() -> None:
    wins = np.array([[[0.6, 0.6], [0.9, 0.54], [0.7, 0.56], [0.5, 0.5]]])
    np.testing.assert_allclose(share_not_improved(wins), [0.5])


def test_the_standard_error_is_the_scatter_of_the_replicates() -> None:
    prompts = Prompts(np.ones((4, 1)), 2)
    values = np.array([0.0, 2.0, 3.0, 3.0]).reshape(1, 4, 1)  # means 1 and 3: std sqrt(2), over sqrt(2)
    np.testing.assert_allclose(standard_error(values, prompts), [[1.0]])


@given(st.floats(0.001, 0.9), st.floats(0.001, 8))
def test_no_policy_beats_the_best_rate(before: float, kl: float) -> None:
    p = best_rate(before, kl)
    assert before < p <= 1
    if p < 1 - 1e-9:
        spent = p * np.log(p / before) + (1 - p) * np.log((1 - p) / (1 - before))
        assert spent == pytest.approx(kl, rel=1e-6, abs=1e-9)
    else:
        assert kl >= -np.log(before) - 1e-6
