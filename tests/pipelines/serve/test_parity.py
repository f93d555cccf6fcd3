"""A service does not start when rewards are not those of the run, or look as if a sigmoid had been applied."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

from allgood.errors import ModelError
from allgood.objectives import WeightedSum
from allgood.scorers.known_rewards import KnownRewards, load_known, save_known
from allgood.scorers.rewards_spec import PropertySpec, ReferenceSpec, RewardsSpec
from allgood.scorers.spec import FunctionSpec
from pipelines.serve.parity import check_parity
from tests.pipelines.serve.in_process import InThisProcess

PROMPTS = ("\n\nHuman: What is tea?\n\nAssistant:",) * 5
RESPONSES = ("A", "A drink", "A drink made", "A drink made of", "A drink made of leaves")


def check(function: str, known: KnownRewards | None, *, transform: str = "log_sigmoid") -> None:
    setting = PropertySpec(FunctionSpec("any:thing"), ReferenceSpec(constant=0.0), transform)
    spec = RewardsSpec({"p": setting}, WeightedSum({"p": 1.0}))
    asyncio.run(check_parity(spec, {"p": InThisProcess(function)}, known))


def known_rewards(change: object = None) -> KnownRewards:
    rewards = np.float32([2.0 - 0.1 * len(response) for response in RESPONSES])
    return KnownRewards(PROMPTS, RESPONSES, {"p": change(rewards) if callable(change) else rewards})


def test_the_rewards_of_the_run_are_accepted() -> None:
    check("short", known_rewards())
    check("short", known_rewards(lambda rewards: rewards + 1e-4))


@pytest.mark.parametrize(
    "change",
    [
        lambda rewards: -np.log(1 / rewards - 1),  # the run had logits, the server gives a sigmoid of them
        lambda rewards: rewards + 0.5,
        lambda rewards: rewards[::-1].copy(),
    ],
)
def test_other_rewards_are_refused(change: object) -> None:
    with pytest.raises(ModelError, match="property 'p': the model gives"), np.errstate(invalid="ignore"):
        check("short", known_rewards(change))


def test_a_reward_that_fails_now_is_refused() -> None:
    with pytest.raises(ModelError, match="property 'p'"):
        check("always_broken", known_rewards())


def test_without_known_rewards_a_squashed_reward_is_refused_where_logits_are_expected() -> None:
    with pytest.raises(ModelError, match=r"property 'p': rewards all lie in \[0, 1\]"):
        check("share_of_vowels", None)
    check("share_of_vowels", None, transform="identity")
    check("short", None)
    with pytest.raises(ModelError, match="must be log-probabilities"):
        check("vowels", None, transform="log_prob")


def test_known_rewards_are_read_back_and_damage_is_said(tmp_path: Path) -> None:
    path = tmp_path / "known_rewards.json"
    assert load_known(path) is None
    save_known(known_rewards(), path)
    found = load_known(path)
    assert found is not None
    assert (found.prompts, found.responses) == (PROMPTS, RESPONSES)
    assert found.rewards["p"].tobytes() == known_rewards().rewards["p"].tobytes()
    path.write_text('{"prompts": []}', encoding="utf-8")
    with pytest.raises(ModelError, match="is damaged"):
        load_known(path)
