"""Several reward models as one scorer, with members that need no model."""

import numpy as np
import pytest
import torch

from allgood.scorers.combination import LowerBound, Mean, Median, Min
from allgood.scorers.ensemble import EnsembleScorer, combine
from allgood.scorers.model_scorer import Encoding, ModelScorer


def member(factor, max_letters=6, max_prompt=3):
    """Rewards are `factor` times the letters of prompt and response; longer responses have none, prompts are cut."""

    def encode(examples):
        return [
            None
            if len(response) > max_letters
            else Encoding([1] * len(prompt[:max_prompt] + response), cut=len(prompt) > max_prompt)
            for prompt, response in examples
        ]

    def logits(ids, mask):
        return factor * mask.sum(1, keepdim=True).float()

    return ModelScorer(logits, encode, name="m", pad_token=0)


@pytest.mark.parametrize(
    ("combination", "expected"),
    # members give 2, 4 and 12: mean 6, median 4; deviations -4, -2, 6, so std = sqrt(56 / 3)
    [(Mean(), 6.0), (Median(), 4.0), (Min(), 2.0), (LowerBound(0.5), 6.0 - 0.5 * (56 / 3) ** 0.5)],
)
def test_a_combination_by_hand(combination, expected):
    assert combine(combination, torch.tensor([[2.0], [4.0], [12.0]])).tolist() == pytest.approx([expected])
    scorer = EnsembleScorer([member(1.0), member(2.0), member(6.0)], combination)
    np.testing.assert_allclose(scorer.score(["p"], ["a"]).rewards, [expected], rtol=1e-6)


def test_a_response_that_one_member_cannot_score_has_no_reward():
    scorer = EnsembleScorer([member(1.0), member(1.0, max_letters=2)], Min())
    rewards = scorer.score(["p", "p"], ["abc", "ab"]).rewards
    np.testing.assert_array_equal(rewards, np.array([np.nan, 3.0], dtype=np.float32))


def test_prompts_that_several_members_cut_are_counted_once():
    scorer = EnsembleScorer([member(1.0), member(1.0, max_prompt=1), member(1.0, max_prompt=5)], Mean())
    assert scorer.score(["pq", "pqrs", "p"], ["a", "a", "a"]).num_prompts_cut == 2


def test_nothing_to_score_gives_nothing():
    assert EnsembleScorer([member(1.0)], Mean()).score([], []).rewards.shape == (0,)
