"""verl 0.9: the signatures of `reward_manager/naive.py` and `reward_loop.py`, with its kind of configuration."""

from __future__ import annotations

import asyncio
import logging
import runpy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from omegaconf import OmegaConf

from allgood.errors import ConfigError, DataError
from allgood.integrations import verl
from allgood.integrations.verl import AllGoodRewardManager, check, compute_score
from allgood.scorers.all_good_scorer import AllGoodScorer
from tests.allgood.integrations.rewards_for_trainers import MESSAGES, RUN_IDS, folder_of_a_run, template_of_a_run

END = 2
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def rewards(tmp_path_factory: pytest.TempPathFactory) -> str:
    return folder_of_a_run(tmp_path_factory.mktemp("verl"))


def config_of(rewards: str, overrides: tuple[str, ...] = (), **settings: Any) -> Any:
    """The keys of `ppo_trainer.yaml` that matter, with a good choice for each."""
    config = {
        "algorithm": {
            "adv_estimator": "rloo",
            "norm_adv_by_std_in_grpo": True,
            "use_kl_in_reward": True,
            "kl_penalty": "kl",
            "kl_ctrl": {"type": "fixed", "kl_coef": 0.1},
        },
        "actor_rollout_ref": {
            "actor": {"use_kl_loss": False, "kl_loss_coef": 0.001},
            "rollout": {"temperature": 1.0, "top_p": 1},
        },
        "reward": {
            "custom_reward_function": {
                "path": "pkg://allgood.integrations.verl",
                "name": "compute_score",
                "reward_kwargs": {"rewards": rewards} | settings,
            },
            "reward_manager": {"source": "importlib", "name": "AllGoodRewardManager"},
        },
    }
    return OmegaConf.merge(OmegaConf.create(config), OmegaConf.from_dotlist(list(overrides)))


@dataclass
class Row:
    """A row of `DataProto`, and with [-1:][0] a batch of itself."""

    batch: dict[str, torch.Tensor]
    non_tensor_batch: dict[str, Any]

    def __getitem__(self, index: slice | int) -> Any:
        return [self] if isinstance(index, slice) else self


def row_of(tokenizer: Any, messages: list[dict[str, str]], response: str, *, finished: bool = True) -> Row:
    """Prompt of 3 tokens, then the response, padded on the right."""
    ids = [*tokenizer(response, add_special_tokens=False)["input_ids"], *([END] if finished else [])]
    mask = [1, 1, 1, *[1] * len(ids), 0, 0]
    return Row(
        {"responses": torch.tensor([*ids, 0, 0]), "attention_mask": torch.tensor(mask)},
        {"raw_prompt": np.array(messages, dtype=object)},
    )


def test_the_entry_point_is_called_by_keywords_and_scores_the_row_of_the_run(rewards: str) -> None:
    found = asyncio.run(
        compute_score(
            data_source="mine",
            solution_str="Mix flour and water.",
            ground_truth=None,
            extra_info={"prompt": np.array(MESSAGES[0], dtype=object), "num_turns": 2, "rollout_reward_scores": {}},
            rewards=rewards,
        )
    )
    expected = AllGoodScorer.from_config(rewards).score(MESSAGES[:1], ["Mix flour and water."])
    assert expected.prompt_ids == (RUN_IDS[0],)
    assert found["score"] == float(expected.total[0])
    assert found["allgood/liked/reward"] == float(expected.properties["liked"].rewards[0])
    with pytest.raises(DataError, match="verl cannot leave it out: even: scoring failed"):
        asyncio.run(compute_score("mine", "odd", None, {"prompt": MESSAGES[0]}, rewards=rewards))
    with pytest.raises(ConfigError, match="extra_info has no `prompt`"):
        asyncio.run(compute_score("mine", "odd", None, {}, rewards=rewards))


def test_the_manager_reads_what_the_reward_loop_has(rewards: str, tmp_path: Path) -> None:
    tokenizer = template_of_a_run(tmp_path)
    manager = AllGoodRewardManager(
        config=config_of(rewards),
        tokenizer=tokenizer,
        compute_score=compute_score,
        reward_router_address=None,
        reward_model_tokenizer=None,
    )
    found = asyncio.run(manager.run_single(row_of(tokenizer, MESSAGES[1], "The Danube")))
    expected = AllGoodScorer.from_config(rewards).score(MESSAGES[1:], ["The Danube"])
    assert found["reward_score"] == found["reward_extra_info"]["score"] == float(expected.total[0])
    with pytest.raises(DataError, match="cannot leave it out"):
        asyncio.run(manager.run_single(row_of(tokenizer, MESSAGES[1], "odd")))


def test_the_manager_knows_cut_answers_by_their_last_token(tmp_path: Path) -> None:
    tokenizer = template_of_a_run(tmp_path)
    rewards = folder_of_a_run(tmp_path / "penalty", missing_eos_penalty=0.5)
    with pytest.raises(ConfigError, match="missing_eos_penalty needs end_token_ids"):
        AllGoodRewardManager(config_of(rewards), tokenizer)
    manager = AllGoodRewardManager(config_of(rewards, end_token_ids=[END]), tokenizer)
    finished, cut = (
        asyncio.run(manager.run_single(row_of(tokenizer, MESSAGES[1], "The Danube", finished=finished)))
        for finished in (True, False)
    )
    assert cut["reward_score"] == pytest.approx(finished["reward_score"] - 0.5)


def test_utilities_stand_at_the_last_tokens() -> None:
    responses = torch.zeros(2, 4, dtype=torch.long)
    mask = torch.tensor([[1, 1, 1, 1, 0, 0], [0, 1, 1, 1, 1, 1]])
    batch = Row({"prompts": torch.zeros(2, 2), "responses": responses, "attention_mask": mask}, {})
    found = AllGoodRewardManager.assemble_rm_scores(batch, [-1.5, -2.0])
    assert found.tolist() == [[0.0, -1.5, 0.0, 0.0], [0.0, 0.0, 0.0, -2.0]]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("algorithm.adv_estimator=grpo",), "erases what the transform log_sigmoid expresses"),
        (("algorithm.adv_estimator=gdpo",), "normalise_then_sum"),
        (("algorithm.adv_estimator=gae", "actor_rollout_ref.actor.use_kl_loss=true"), "gamma silently changes"),
    ],
)
def test_switches_that_break_the_method_are_refused(rewards: str, overrides: tuple[str, ...], message: str) -> None:
    check(config_of(rewards))
    with pytest.raises(ConfigError, match=message):
        check(config_of(rewards, overrides))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("algorithm.use_kl_in_reward=false",), "nothing holds the policy"),
        (("actor_rollout_ref.actor.use_kl_loss=true",), "no value of it is gamma"),
        (("algorithm.kl_penalty=low_var_kl",), "gamma only with adv_estimator=rloo and kl_penalty=kl"),
        (("actor_rollout_ref.rollout.temperature=0.7",), "not drawn from the policy"),
    ],
)
def test_switches_that_change_gamma_are_named(
    rewards: str, overrides: tuple[str, ...], message: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "allgood"):
        check(config_of(rewards))
        assert caplog.text == ""
        check(config_of(rewards, overrides))
    assert message in caplog.text


def test_rewards_must_be_named(rewards: str) -> None:
    config = config_of(rewards)
    config.reward.custom_reward_function.reward_kwargs = {}
    with pytest.raises(ConfigError, match="reward_kwargs.rewards is missing"):
        check(config)
    assert verl.__doc__ is not None
    assert "reward.custom_reward_function.path=pkg://allgood.integrations.verl" in verl.__doc__


def test_the_example_tells_verl_what_the_method_needs(
    rewards: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    example = runpy.run_path(str(ROOT / "examples" / "verl_rloo.py"))
    told = example["arguments"](rewards, "policy", tmp_path / "prompts.parquet")
    with caplog.at_level(logging.WARNING, "allgood"):
        check(config_of("a folder that the example replaces", tuple(each.removeprefix("+") for each in told)))
    assert caplog.text == ""
    example["write_prompts"]([MESSAGES[0][0]["content"]], tmp_path / "prompts.parquet")
    row = Dataset.from_parquet(str(tmp_path / "prompts.parquet"))[0]
    scored = {"data_source": row["data_source"], "ground_truth": row["reward_model"]["ground_truth"]}
    found = asyncio.run(
        compute_score(solution_str="Mix flour and water.", extra_info=row["extra_info"], rewards=rewards, **scored)
    )
    expected = AllGoodScorer.from_config(rewards).score(MESSAGES[:1], ["Mix flour and water."])
    assert found["score"] == float(expected.total[0])
