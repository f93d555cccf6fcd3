"""Functions as scorers: what they return is checked, and what is wrong with them is said."""

import numpy as np
import pytest

from allgood.errors import ConfigError, RoleError
from allgood.scorers.function_scorer import FunctionScorer, load_function


def test_a_function_scores_a_batch_and_may_give_nan():
    scorer = FunctionScorer(lambda prompts, responses: [len(r) if r else float("nan") for r in responses], name="m:f")
    rewards = scorer.score(["p", "q", "r"], ["abc", "", "de"]).rewards
    assert rewards.dtype == np.float32
    np.testing.assert_array_equal(rewards, np.array([3, np.nan, 2], dtype=np.float32))


def test_a_function_with_the_wrong_number_of_rewards_is_refused():
    with pytest.raises(RoleError, match=r"'m:f' returned shape \(1,\) for 2 responses"):
        FunctionScorer(lambda prompts, responses: [1.0], name="m:f").score(["p", "q"], ["a", "b"])


@pytest.mark.parametrize("failing", [lambda p, r: 1 / 0, lambda p, r: ["no number"] * len(r), lambda p: [0.0]])
def test_a_function_that_fails_is_named(failing):
    with pytest.raises(RoleError, match="'m:f' failed on 1 responses"):
        FunctionScorer(failing, name="m:f").score(["p"], ["a"])


def test_a_function_is_found_by_its_path():
    assert load_function("math:fsum")([1, 2]) == 3
    assert load_function("allgood.batching:token_budget_batches")([1], max_tokens=1) == [[0]]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("math.fsum", "must have the form"),
        ("no_such_module:f", "cannot be imported"),
        ("math:nothing", "has no 'nothing'"),
        ("math:pi", "is not callable"),
    ],
)
def test_a_wrong_function_path_says_what_is_wrong(path, message):
    with pytest.raises(ConfigError, match=message):
        load_function(path)
