"""Fixed texts by which a served reward model is recognised."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from allgood.errors import ModelError
from allgood.scorers.function_scorer import FunctionScorer
from allgood.scorers.probes import probe, probe_texts, refuse_changed


def scorer(reward: Callable[[str], float]) -> FunctionScorer:
    def score(prompts: Sequence[str], responses: Sequence[str]) -> list[float]:
        return [reward(response) for response in responses]

    return FunctionScorer(score, name="test:reward")


def test_there_are_32_different_conversations_so_that_a_sigmoid_is_seen() -> None:
    prompts, responses = probe_texts()
    assert len(set(zip(prompts, responses, strict=True))) == 32
    assert all(prompt.endswith("\n\nAssistant:") for prompt in prompts)


def test_a_probe_is_the_rewards_of_the_texts() -> None:
    lengths = [len(response) / 8 - 7 for response in probe_texts()[1]]
    assert probe(scorer(lambda text: len(text) / 8 - 7), transform="log_sigmoid") == lengths


@pytest.mark.parametrize(
    ("reward", "message"),
    [
        (lambda text: 1 / (1 + np.exp(-len(text) / 50)), "rewards all lie in \\[0, 1\\]"),
        (lambda text: 2.5, "all probe texts have the reward 2.5"),
        (lambda text: np.nan if "Paris" in text else float(len(text)), "3 of 32 probe texts have no reward"),
        (lambda text: 0.0 if "Paris" in text else float(len(text)), "rewards are exactly 0 for 3 of 32"),
    ],
)
def test_what_is_no_reward_model_is_refused(reward: Callable[[str], float], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        probe(scorer(reward), transform="log_sigmoid")


def test_rounding_is_let_through_and_another_model_is_not() -> None:
    known = [-3.0, 0.0, 10.0]
    refuse_changed(known, [-3.1, 0.05, 10.2])
    with pytest.raises(ModelError, match=r"other rewards than before to 1 of 3 probe texts \(at most 10.4 for 10\)"):
        refuse_changed(known, [-3.0, 0.0, 10.4])
    with pytest.raises(ModelError, match="to 1 of 3"):
        refuse_changed(known, [-3.0, float("nan"), 10.0])
    with pytest.raises(ModelError, match="of other probe texts"):
        refuse_changed(known, known[:2])
