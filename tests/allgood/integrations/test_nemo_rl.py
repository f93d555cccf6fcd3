"""NeMo-RL 0.6: the interface of `environments/interfaces.py`, with message logs as its processors make them."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from allgood.errors import ConfigError, DataError
from allgood.integrations.nemo_rl import AllGoodEnvironment, EnvironmentReturn, check
from allgood.scorers.all_good_scorer import AllGoodScorer
from tests.allgood.integrations.rewards_for_trainers import MESSAGES, RUN_IDS, folder_of_a_run, template_of_a_run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("nemo")


@pytest.fixture(scope="module")
def rewards(folder: Path) -> str:
    return folder_of_a_run(folder / "rewards", policy_template=template_of_a_run(folder).name_or_path)


def rendered(folder: Path, messages: list[dict[str, str]]) -> str:
    return str(template_of_a_run(folder).apply_chat_template(messages, tokenize=False, add_generation_prompt=True))


def test_logs_of_every_processor_are_the_rows_of_the_run(folder: Path, rewards: str) -> None:
    answer = {"role": "assistant", "content": "The Danube", "token_ids": torch.tensor([1, 2])}
    whole = rendered(folder, MESSAGES[1])
    logs = [
        [{"role": "user", "content": whole}, answer],  # `math_hf_data_processor`
        [*MESSAGES[1], answer],  # contents as people wrote them
        [{"role": "system", "content": whole[:9]}, {"role": "user", "content": whole[9:]}, answer],  # cut at a message
    ]
    found = AllGoodEnvironment({"rewards": rewards}).step(logs, [None] * 3)
    expected = AllGoodScorer.from_config(rewards).score(MESSAGES[1:], ["The Danube"])
    assert expected.prompt_ids == (RUN_IDS[1],)
    np.testing.assert_allclose(found.rewards.numpy(), np.repeat(expected.total, 3), atol=1e-6)


def test_the_answer_has_the_six_fields_in_their_order(rewards: str) -> None:
    log = [*MESSAGES[0], {"role": "assistant", "content": "Mix flour and water."}]
    environment = AllGoodEnvironment({"rewards": rewards})
    observations, metadata, stops, utilities, terminateds, answers = environment.step([log, log], [None, None])
    assert EnvironmentReturn._fields[3] == "rewards"
    assert [message["role"] for message in observations] == ["environment"] * 2
    assert metadata == stops == [None, None]
    assert (utilities.dtype, utilities.shape) == (torch.float32, (2,))
    assert terminateds.tolist() == [True, True]
    assert answers == ["Mix flour and water."] * 2
    batch = {"rewards": utilities}
    assert environment.global_post_process_and_metrics(batch) == (batch, {})


def test_a_failed_row_stops_the_training(rewards: str) -> None:
    log = [*MESSAGES[0], {"role": "assistant", "content": "odd"}]
    with pytest.raises(DataError, match="NeMo-RL cannot leave it out: even: scoring failed"):
        AllGoodEnvironment({"rewards": rewards}).step([log], [None])


def test_what_it_cannot_do_is_refused_at_the_start(folder: Path) -> None:
    with pytest.raises(ConfigError, match="NeMo-RL does not tell"):
        AllGoodEnvironment({"rewards": folder_of_a_run(folder / "penalty", missing_eos_penalty=0.5)})
    with pytest.raises(ConfigError, match="`rewards` is missing"):
        AllGoodEnvironment({})


def config_of(rewards: str, **changes: Any) -> Any:
    """The keys of the master configuration that matter, as attributes where NeMo-RL has models."""
    shaping = SimpleNamespace(enabled=False, stop_properly_penalty_coef=None)
    estimator = {"name": "grpo", "normalize_rewards": False}
    return SimpleNamespace(
        grpo=SimpleNamespace(
            reward_scaling=SimpleNamespace(enabled=changes.get("scaling", False)),
            reward_shaping=changes.get("shaping", shaping),
            adv_estimator=SimpleNamespace(**estimator | changes.get("estimator", {})),
        ),
        loss_fn=SimpleNamespace(
            reference_policy_kl_penalty=changes.get("penalty", 0.01), use_kl_in_reward=changes.get("in_reward", False)
        ),
        policy={"generation": {"temperature": changes.get("temperature", 1.0)}},
        env={"allgood": {"rewards": rewards}},
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scaling": True}, "log-probabilities lie below it"),
        ({"shaping": SimpleNamespace(enabled=True, stop_properly_penalty_coef=0.5)}, "multiplies a log-probability"),
        ({"estimator": {"normalize_rewards": True}}, "erases what the transform log_sigmoid"),
        ({"estimator": {"name": "gdpo"}}, "normalise_then_sum"),
        ({"estimator": {"name": "reinforce_plus_plus"}}, "gamma silently changes with every batch"),
    ],
)
def test_switches_that_break_the_method_are_refused(rewards: str, changes: dict[str, Any], message: str) -> None:
    check(config_of(rewards))
    with pytest.raises(ConfigError, match=message):
        check(config_of(rewards, **changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "is not gamma"),
        ({"penalty": 0.0}, "nothing holds the policy"),
        ({"temperature": 0.7}, "not drawn from the policy"),
    ],
)
def test_switches_that_change_gamma_are_named(
    rewards: str, changes: dict[str, Any], message: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "allgood"):
        check(config_of(rewards, **changes))
    assert message in caplog.text
