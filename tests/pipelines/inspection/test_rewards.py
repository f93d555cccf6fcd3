"""The range of rewards, and what looks wrong about it."""

from __future__ import annotations

import numpy as np
import pytest

from allgood.transform_facts import facts_of
from pipelines.inspection.rewards import AloneAndTogether, reward_range, suspicions

LOG_SIGMOID = facts_of("log_sigmoid")
GENERATOR = np.random.default_rng(0)


def found(rewards: object, transform: str = "log_sigmoid") -> list[str]:
    return list(suspicions(reward_range(np.asarray(rewards, dtype=np.float32)), facts_of(transform)))


def test_rewards_of_a_usual_reward_model_raise_no_suspicion() -> None:
    assert found(GENERATOR.normal(-2.0, 1.5, size=(8, 4))) == []


def test_std_within_leaves_out_what_differs_between_prompts() -> None:
    rewards = np.array([[0.0, 2.0], [10.0, 12.0], [20.0, 22.0]], dtype=np.float32)
    measured = reward_range(rewards)
    assert measured.std_within == pytest.approx(np.sqrt(2.0))  # each prompt: +-1 around its mean, ddof 1
    assert measured.std_between == pytest.approx(10.0)
    assert (measured.minimum, measured.median, measured.maximum, measured.num_failed) == (0.0, 11.0, 22.0, 0)


def test_a_failed_reward_is_counted_and_no_number() -> None:
    measured = reward_range(np.array([[1.0, np.nan], [3.0, 5.0]], dtype=np.float32))
    assert (measured.num_failed, measured.maximum) == (1, 5.0)
    assert measured.std_within == pytest.approx(np.sqrt(2.0))  # of the second prompt alone
    assert found([[np.nan, np.nan]]) == ["2 answers have no reward: their samples would be dropped"]


def test_with_one_sample_of_one_prompt_there_are_no_standard_deviations() -> None:
    measured = reward_range(np.array([[1.5]], dtype=np.float32))
    assert np.isnan(measured.std_within)
    assert np.isnan(measured.std_between)


@pytest.mark.parametrize(
    ("rewards", "transform", "word"),
    [
        (GENERATOR.uniform(0.1, 0.9, size=(8, 4)), "log_sigmoid", "squashed"),
        (np.full((8, 4), 0.3), "log_sigmoid", "constant"),
        (np.full((8, 4), 0.3), "identity", "constant"),
        (GENERATOR.normal(0.0, 30.0, size=(8, 4)), "log_sigmoid", "certainly good"),
        (GENERATOR.normal(2.0, 0.01, size=(8, 4)), "log_sigmoid", "about equally good"),
        (GENERATOR.normal(0.0, 1.0, size=(8, 4)), "log_prob", "expects log-probabilities"),
    ],
)
def test_what_looks_wrong_is_said(rewards: object, transform: str, word: str) -> None:
    (sentence,) = found(rewards, transform)
    assert word in sentence


@pytest.mark.parametrize("transform", ["identity", "z_score", "calibrated"])
def test_where_any_scale_is_right_none_is_suspicious(transform: str) -> None:
    assert found(GENERATOR.uniform(0.1, 0.9, size=(8, 4)), transform) == []
    assert found(GENERATOR.normal(0.0, 30.0, size=(8, 4)), transform) == []


def test_alone_and_together_agree_up_to_rounding() -> None:
    assert AloneAndTogether(2.0, 2.002).agree
    assert not AloneAndTogether(2.0, 2.1).agree
    assert not AloneAndTogether(2.0, float("nan")).agree
