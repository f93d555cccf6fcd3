"""Scorers that fail: how often they are asked, what is left without a reward, and what is believed at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.reward import RewardSpec, RewardWorker
from actors.scoring import PAUSES_S, Attempt, score_what_can_be
from allgood.errors import RoleError
from allgood.scorers.function_scorer import FunctionScorer
from allgood.scorers.scorer import Scored
from allgood.scorers.spec import FunctionSpec
from allgood.treatment import Treatment
from tests.actors.test_reward import rollout


def attempt(function: Callable[[Sequence[str], Sequence[str]], Sequence[float]], responses: Sequence[str]) -> Attempt:
    scorer = FunctionScorer(function, name="m:f")
    return score_what_can_be(scorer, ["p"] * len(responses), responses, sleep=lambda seconds: None)


def raises_on_b(prompts: Sequence[str], responses: Sequence[str]) -> list[float]:
    if any("b" in response for response in responses):
        raise ZeroDivisionError("a b")
    return [float(len(response)) for response in responses]


def one_too_few(prompts: Sequence[str], responses: Sequence[str]) -> list[float]:
    return [1.0] * (len(responses) - 1)


def test_what_does_not_fail_is_asked_once() -> None:
    calls: list[int] = []

    def function(prompts: Sequence[str], responses: Sequence[str]) -> list[float]:
        calls.append(len(responses))
        return [0.5] * len(responses)

    found = attempt(function, ["a", "b", "c"])
    assert calls == [3]
    assert (found.scored.rewards.tolist(), found.num_given_up, found.retries) == ([0.5, 0.5, 0.5], 0, ())


def test_a_failure_that_passes_leaves_all_rewards_and_one_retry_with_its_reason() -> None:
    pauses: list[float] = []
    answers = [TimeoutError("busy"), TimeoutError("busy"), None]

    def function(prompts: Sequence[str], responses: Sequence[str]) -> list[float]:
        error = answers.pop(0)
        if error is not None:
            raise error
        return [1.0] * len(responses)

    found = score_what_can_be(FunctionScorer(function, name="m:f"), ["p", "p"], ["a", "b"], sleep=pauses.append)
    assert found.scored.rewards.tolist() == [1.0, 1.0]
    assert tuple(pauses) == PAUSES_S
    assert [retry.reason for retry in found.retries] == [
        "reward function 'm:f' failed on 2 responses: TimeoutError('busy')"
    ]


@given(st.lists(st.sampled_from(["b", "ab", "a", "aaa"]), min_size=1, max_size=17))
def test_only_the_responses_that_fail_alone_have_no_reward(responses: list[str]) -> None:
    found = attempt(raises_on_b, responses)
    failing = [row for row, response in enumerate(responses) if "b" in response]
    expected = np.array([np.nan if "b" in response else len(response) for response in responses], dtype=np.float32)
    np.testing.assert_array_equal(found.scored.rewards, expected)
    assert found.num_given_up == len(failing) == len(found.scored.reasons)
    assert sorted(found.scored.reasons) == failing
    assert bool(found.retries) == bool(failing)


def test_tries_are_bounded_when_everything_fails() -> None:
    calls: list[int] = []

    def function(prompts: Sequence[str], responses: Sequence[str]) -> list[float]:
        calls.append(len(responses))
        raise ValueError("never")

    found = attempt(function, ["a"] * 8)
    assert found.num_given_up == 8
    assert calls == [8, 8, 8, 4, 2, 1, 1, 2, 1, 1, 4, 2, 1, 1, 2, 1, 1]


def test_a_wrong_number_of_rewards_is_a_failure_whoever_gives_it() -> None:
    found = attempt(one_too_few, ["a", "b"])
    assert np.isnan(found.scored.rewards).all()
    assert found.scored.reasons[1].startswith("reward function 'm:f' returned shape (0,) for 1 responses")

    class Short:
        def score(self, prompts: Sequence[str], responses: Sequence[str]) -> Scored:
            return Scored(np.zeros(3, dtype=np.float32))

    found = score_what_can_be(Short(), ["p"], ["a"], sleep=lambda seconds: None)
    assert found.scored.reasons == {0: "the scorer gave rewards of shape (3,) for 1 responses"}


def test_an_error_of_a_library_is_a_failure_with_its_name() -> None:
    class Broken:
        def score(self, prompts: Sequence[str], responses: Sequence[str]) -> Scored:
            raise RuntimeError("CUDA error: an illegal memory access\nand much more")

    found = score_what_can_be(Broken(), ["p"], ["a"], sleep=lambda seconds: None)
    assert found.scored.reasons == {0: "RuntimeError: CUDA error: an illegal memory access"}


def test_a_scorer_that_will_never_answer_is_believed_at_once() -> None:
    calls: list[int] = []

    class Refused:
        def score(self, prompts: Sequence[str], responses: Sequence[str]) -> Scored:
            calls.append(len(responses))
            raise RoleError("the server refuses the token")

    with pytest.raises(RoleError, match="refuses the token"):
        score_what_can_be(Refused(), ["p", "p"], ["a", "b"])
    assert calls == [2]


def test_a_worker_gives_nan_and_the_reason_for_what_its_function_raises_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.scoring.PAUSES_S", ())
    worker = RewardWorker(RewardSpec("short", FunctionSpec("tests.actors.test_scoring:raises_on_b")))
    worker.set_treatment(Treatment("arm", "log_sigmoid", 1.0))
    scores = worker.score(rollout(["good", "b", "x", "y", "z", "w"]), "arm")
    for array in (scores.view.rewards, scores.view.references, scores.view.margins, scores.view.utilities):
        assert np.isnan(array).tolist() == [False, True, False, False, False, False]
    assert scores.num_given_up == 1
    assert "failed on 1 responses: ZeroDivisionError('a b')" in scores.reasons[1]
    assert len(scores.retries) == 1
