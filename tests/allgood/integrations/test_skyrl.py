"""SkyRL: the environment in skyrl-gym itself, and the configuration of `skyrl/train/config/config.py`."""

from __future__ import annotations

import logging
import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import skyrl_gym
from skyrl_gym.envs.base_text_env import BaseTextEnv

from allgood.errors import ConfigError, DataError
from allgood.integrations.skyrl import AllGoodEnv, check
from allgood.scorers.all_good_scorer import AllGoodScorer
from tests.allgood.integrations.rewards_for_trainers import MESSAGES, RUN_IDS, folder_of_a_run

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def rewards(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = folder_of_a_run(tmp_path_factory.mktemp("skyrl"))
    runpy.run_path(str(ROOT / "examples" / "skyrl_train.py"))["register"](folder)
    return folder


def made() -> Any:
    """As `SkyRLGymGenerator.agent_loop` makes one."""
    return skyrl_gym.make("allgood", env_config={}, extras={"data_source": "mine", "max_turns": 1})


def test_an_environment_scores_the_row_of_the_run(rewards: str) -> None:
    environment = made()
    assert isinstance(environment, BaseTextEnv)
    prompt, _ = environment.init(MESSAGES[1])
    assert prompt == MESSAGES[1]
    output = environment.step("The Danube")
    expected = AllGoodScorer.from_config(rewards).score(MESSAGES[1:], ["The Danube"])
    assert expected.prompt_ids == (RUN_IDS[1],)
    assert (output["reward"], output["done"], output["observations"]) == (float(expected.total[0]), True, [])
    metrics = environment.get_metrics()
    assert metrics["allgood/liked/reward"] == float(expected.properties["liked"].rewards[0])
    assert made().aggregate_metrics([metrics, metrics])["allgood/utility"] == pytest.approx(output["reward"])


def test_models_are_loaded_once_for_all_environments(rewards: str) -> None:
    assert made().scorer is made().scorer


def test_a_failed_row_stops_the_training(rewards: str) -> None:
    environment = made()
    environment.init(MESSAGES[0])
    with pytest.raises(DataError, match="SkyRL cannot leave it out: even: scoring failed"):
        environment.step("odd")


def test_a_penalty_is_refused(tmp_path: Path) -> None:
    folder = folder_of_a_run(tmp_path / "penalty", missing_eos_penalty=0.5)
    with pytest.raises(ConfigError, match="SkyRL does not tell"):
        AllGoodEnv(rewards=folder)


def config_of(**changes: Any) -> Any:
    algorithm = {
        "advantage_estimator": "rloo",
        "grpo_norm_by_std": True,
        "advantage_batch_normalize": False,
        "use_kl_in_reward": True,
        "use_kl_loss": False,
        "kl_estimator_type": "k1",
        "kl_loss_coef": 0.1,
    }
    generator = {
        "zero_reward_on_non_stop": changes.pop("zero_reward_on_non_stop", False),
        "sampling_params": SimpleNamespace(temperature=changes.pop("temperature", 1.0), top_p=1.0),
    }
    return SimpleNamespace(
        trainer=SimpleNamespace(algorithm=SimpleNamespace(**algorithm | changes)),
        generator=SimpleNamespace(**generator),
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"zero_reward_on_non_stop": True}, "0, which is the best log-probability"),
        ({"advantage_estimator": "maxrl"}, "divides by the mean reward"),
        ({"advantage_estimator": "grpo"}, "erases what the transform log_sigmoid"),
        ({"advantage_batch_normalize": True, "use_kl_in_reward": False}, "gamma silently changes with every batch"),
    ],
)
def test_switches_that_break_the_method_are_refused(rewards: str, changes: dict[str, Any], message: str) -> None:
    check(config_of(), rewards)
    with pytest.raises(ConfigError, match=message):
        check(config_of(**changes), rewards)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"use_kl_in_reward": False}, "nothing holds the policy"),
        ({"kl_estimator_type": "k3"}, "kl_loss_coef is gamma only with"),
        ({"temperature": 0.7}, "not drawn from the policy"),
    ],
)
def test_switches_that_change_gamma_are_named(
    rewards: str, changes: dict[str, Any], message: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "allgood"):
        check(config_of(), rewards)
        assert caplog.text == ""
        check(config_of(**changes), rewards)
    assert message in caplog.text
