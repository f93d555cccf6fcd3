"""Scorers that need neither a model library nor actors."""

import numpy as np
import pytest
import torch

from allgood.errors import ConfigError, RoleError
from allgood.scoring import Encoding, FunctionScorer, ModelScorer, load_function


def encode(examples):
    """Letters as token ids; responses over 6 letters do not fit, prompts over 3 are cut."""
    return [
        None if len(response) > 6 else Encoding([ord(c) for c in prompt[-3:] + response], cut=len(prompt) > 3)
        for prompt, response in examples
    ]


def mean_of_real_tokens(ids, mask):
    """One logit per row: the mean of its real ids."""
    real = torch.ones_like(ids) if mask is None else mask
    return ((ids * real).sum(1) / real.sum(1))[:, None]


def two_labels(ids, mask):
    first = mean_of_real_tokens(ids, mask) / 100
    return torch.cat([first, -first], dim=1)


def test_rewards_come_back_in_the_order_given_whatever_the_batches():
    responses = ["abcdef", "a", "bcd", "ef", "xyz"]
    expected = [np.mean([ord(c) for c in "p" + response]) for response in responses]
    for micro_batch_tokens in (1, 8, 1000):
        scorer = ModelScorer(mean_of_real_tokens, encode, pad_token=0, micro_batch_tokens=micro_batch_tokens)
        rewards = scorer.score(["p"] * 5, responses).rewards
        assert rewards.dtype == np.float32
        np.testing.assert_allclose(rewards, expected, rtol=1e-6)
        np.testing.assert_allclose(scorer.score_one_by_one(["p"] * 5, responses), expected, rtol=1e-6)


def test_a_response_that_does_not_fit_is_nan_and_cut_prompts_are_counted():
    scored = ModelScorer(mean_of_real_tokens, encode, pad_token=0).score(["long prompt", "p"], ["a", "far too long"])
    assert np.isnan(scored.rewards).tolist() == [False, True]
    assert scored.num_prompts_cut == 1


def test_without_a_pad_token_every_row_goes_alone():
    shapes = []

    def logits(ids, mask):
        shapes.append(tuple(ids.shape))
        return mean_of_real_tokens(ids, mask)

    ModelScorer(logits, encode, pad_token=None).score(["p"] * 3, ["a", "ab", "abc"])
    assert sorted(shapes) == [(1, 2), (1, 3), (1, 4)]


def test_a_label_turns_logits_into_its_log_probability():
    # ids of "pa": 112, 97, mean 104.5, logits (1.045, -1.045): log softmax of label 1 = -log(1 + e^2.09)
    rewards = ModelScorer(two_labels, encode, pad_token=0, label=1).score(["p"], ["a"]).rewards
    np.testing.assert_allclose(rewards, [-np.log1p(np.exp(2.09))], rtol=1e-5)


def test_the_log_probability_of_a_certain_label_is_not_rounded_to_0():
    def certain(ids, mask):
        return torch.tensor([[0.0, 40.0, -1.0]]).expand(len(ids), 3)

    rewards = ModelScorer(certain, encode, pad_token=0, label=1).score(["p"], ["a"]).rewards
    np.testing.assert_allclose(rewards, [-np.exp(-40.0) - np.exp(-41.0)], rtol=1e-5)  # log softmax in float32: 0


@pytest.mark.parametrize("label", [None, 0])
def test_an_infinite_logit_is_a_failed_score(label):
    def infinite(ids, mask):
        return torch.tensor([[torch.inf, 0.0]]).expand(len(ids), 2)

    assert np.isnan(ModelScorer(infinite, encode, pad_token=0, label=label).score(["p"], ["a"]).rewards).all()


def test_nothing_to_score_gives_nothing():
    assert ModelScorer(mean_of_real_tokens, encode, pad_token=0).score([], []).rewards.shape == (0,)


def test_prompts_and_responses_must_pair_up():
    with pytest.raises(ValueError, match="zip"):
        ModelScorer(mean_of_real_tokens, encode, pad_token=0).score(["p"], ["a", "b"])


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
