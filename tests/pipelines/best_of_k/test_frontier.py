"""The frontier: values by hand, prompts with different numbers of answers, which prompts stand behind which k."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from allgood.best_of_k import kl_bound
from allgood.errors import DataError
from pipelines.best_of_k.frontier import best_of_every_k, default_max_k, frontier, k_grid, mean_kl

SCORES = [np.array([1.0, 3.0, 2.0]), np.array([0.0, 5.0, 1.0, 2.0]), np.array([7.0, 6.0])]
GOLD = [np.array([10.0, 20.0, 30.0]), np.array([1.0, 2.0, 3.0, 4.0]), np.array([0.0, 1.0])]


def by_enumeration(scores: np.ndarray, values: np.ndarray, k: int) -> float:
    subsets = list(combinations(range(len(scores)), k))
    return float(np.mean([values[max(subset, key=lambda index: scores[index])] for subset in subsets]))


def test_every_k_is_the_mean_over_all_subsets_of_k_answers() -> None:
    found = best_of_every_k(SCORES[:2], GOLD[:2], 3)
    for prompt in range(2):
        for k in (1, 2, 3):
            assert found[prompt, k - 1] == pytest.approx(by_enumeration(SCORES[prompt], GOLD[prompt], k))


def test_only_prompts_with_enough_answers_stand_behind_the_curve() -> None:
    found = frontier(SCORES, {"gold": GOLD}, max_k=3, seed=0, num_bootstrap=200)
    assert found.num_prompts == 2
    assert [step.prompts_with_k for step in found.steps] == [3, 3, 2]
    assert found.steps[0].values["gold"].value == pytest.approx((20 + 2.5) / 2)  # best of one is any answer
    # prompt 1: the best of 3 of 3 is 20; prompt 2: 3 of its 4 subsets hold the best (2), the last is led by 4
    assert found.steps[2].values["gold"].value == pytest.approx((20 + (3 * 2 + 4) / 4) / 2)
    assert [step.kl_bound for step in found.steps] == [kl_bound(k) for k in (1, 2, 3)]


def test_without_ties_the_estimated_kl_is_the_bound() -> None:
    assert mean_kl(SCORES, 2) == pytest.approx(kl_bound(2))
    assert mean_kl([np.array([1.0, 1.0]), np.array([0.0, 1.0])], 2) < kl_bound(2)


def test_a_prompt_without_a_value_is_left_out_of_that_quantity_alone() -> None:
    gold = [np.array([10.0, np.nan, 30.0]), *GOLD[1:]]
    found = frontier(SCORES[:2], {"gold": gold[:2], "score": SCORES[:2]}, max_k=2, seed=0, num_bootstrap=200)
    assert found.steps[1].values["gold"].num_prompts == 1
    assert found.steps[1].values["score"].num_prompts == 2


def test_the_grid_holds_every_k_up_to_16_and_the_last() -> None:
    assert k_grid(1) == [1]
    assert k_grid(16) == list(range(1, 17))
    assert k_grid(64) == [*range(1, 17), 24, 32, 48, 64]
    assert k_grid(20) == [*range(1, 17), 20]


def test_half_of_the_prompts_reach_the_default_k() -> None:
    assert default_max_k([8, 16, 32]) == 16
    assert default_max_k([4, 8, 16, 32]) == 16
    assert default_max_k([5]) == 5


def test_without_an_answer_to_half_of_the_prompts_there_is_no_default_k() -> None:
    assert default_max_k([0, 0, 4, 4]) == 4
    with pytest.raises(DataError, match=r"3 of 5 have no scored answer, the others 2 to 7; give --max-k"):
        default_max_k([0, 2, 0, 7, 0])
