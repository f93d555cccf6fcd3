"""A sequence classifier as a scorer: batches, padding, labels; without a model library."""

import numpy as np
import pytest
import torch

from allgood.scorers.model_scorer import Encoding, ModelScorer


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
        scorer = ModelScorer(mean_of_real_tokens, encode, name="m", pad_token=0, micro_batch_tokens=micro_batch_tokens)
        rewards = scorer.score(["p"] * 5, responses).rewards
        assert rewards.dtype == np.float32
        np.testing.assert_allclose(rewards, expected, rtol=1e-6)
        np.testing.assert_allclose(scorer.score_one_by_one(["p"] * 5, responses), expected, rtol=1e-6)


def test_a_response_that_does_not_fit_is_nan_and_cut_prompts_are_counted():
    scored = ModelScorer(mean_of_real_tokens, encode, name="m", pad_token=0).score(
        ["long prompt", "p"], ["a", "far too long"]
    )
    assert np.isnan(scored.rewards).tolist() == [False, True]
    assert scored.num_prompts_cut == 1


def test_without_a_pad_token_every_row_goes_alone():
    shapes = []

    def logits(ids, mask):
        shapes.append(tuple(ids.shape))
        return mean_of_real_tokens(ids, mask)

    ModelScorer(logits, encode, name="m", pad_token=None).score(["p"] * 3, ["a", "ab", "abc"])
    assert sorted(shapes) == [(1, 2), (1, 3), (1, 4)]


def test_a_label_turns_logits_into_its_log_probability():
    # ids of "pa": 112, 97, mean 104.5, logits (1.045, -1.045): log softmax of label 1 = -log(1 + e^2.09)
    rewards = ModelScorer(two_labels, encode, name="m", pad_token=0, label=1).score(["p"], ["a"]).rewards
    np.testing.assert_allclose(rewards, [-np.log1p(np.exp(2.09))], rtol=1e-5)


def test_the_log_probability_of_a_certain_label_is_not_rounded_to_0():
    def certain(ids, mask):
        return torch.tensor([[0.0, 40.0, -1.0]]).expand(len(ids), 3)

    rewards = ModelScorer(certain, encode, name="m", pad_token=0, label=1).score(["p"], ["a"]).rewards
    np.testing.assert_allclose(rewards, [-np.exp(-40.0) - np.exp(-41.0)], rtol=1e-5)  # log softmax in float32: 0


@pytest.mark.parametrize("label", [None, 0])
def test_an_infinite_logit_is_a_failed_score(label):
    def infinite(ids, mask):
        return torch.tensor([[torch.inf, 0.0]]).expand(len(ids), 2)

    assert np.isnan(ModelScorer(infinite, encode, name="m", pad_token=0, label=label).score(["p"], ["a"]).rewards).all()


def test_nothing_to_score_gives_nothing():
    assert ModelScorer(mean_of_real_tokens, encode, name="m", pad_token=0).score([], []).rewards.shape == (0,)


def test_prompts_and_responses_must_pair_up():
    with pytest.raises(ValueError, match="zip"):
        ModelScorer(mean_of_real_tokens, encode, name="m", pad_token=0).score(["p"], ["a", "b"])
