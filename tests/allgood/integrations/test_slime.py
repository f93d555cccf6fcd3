"""slime 0.3: the signatures of `rollout/rm_hub` and `ray/rollout.py`, with samples that have its fields."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import runpy
from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from allgood.advantages import rloo
from allgood.errors import ConfigError, DataError
from allgood.integrations.slime import centred, custom_rm
from allgood.scorers.all_good_scorer import AllGoodScorer
from tests.allgood.integrations.rewards_for_trainers import MESSAGES, RUN_IDS, folder_of_a_run, template_of_a_run

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("slime")


@pytest.fixture(scope="module")
def args(folder: Path) -> Namespace:
    template = template_of_a_run(folder).name_or_path
    return Namespace(
        allgood_rewards=folder_of_a_run(folder / "rewards", missing_eos_penalty=0.5, policy_template=template),
        custom_reward_post_process_path="allgood.integrations.slime.centred",
        reward_key="utility",
        advantage_estimator="reinforce_plus_plus",
        normalize_advantages=True,
        kl_coef=0.1,
        kl_loss_coef=0.0,
        kl_loss_type="k1",
        rollout_temperature=1.0,
        rollout_top_p=1.0,
    )


class Status(Enum):
    COMPLETED = "completed"
    TRUNCATED = "truncated"


@dataclass
class Sample:
    """The fields of slime's `Sample` that hooks see."""

    prompt: Any
    response: str
    group_index: int = 0
    status: Status = Status.COMPLETED
    remove_sample: bool = False
    reward: Any = None

    def get_reward_value(self, args: Namespace) -> float:
        return float(self.reward if not args.reward_key else self.reward[args.reward_key])


def scored(args: Namespace, samples: list[Sample]) -> list[Sample]:
    for sample in samples:
        sample.reward = asyncio.run(custom_rm(args, sample))
    return samples


def test_a_rendered_prompt_and_messages_are_the_row_of_the_run(args: Namespace, folder: Path) -> None:
    text = template_of_a_run(folder).apply_chat_template(MESSAGES[1], tokenize=False, add_generation_prompt=True)
    both = [Sample(text, "The Danube<|im_end|>"), Sample(MESSAGES[1], "The Danube")]
    whole = asyncio.run(custom_rm(args, both))  # --group-rm
    assert isinstance(whole, list)
    expected = AllGoodScorer.from_config(args.allgood_rewards).score(
        MESSAGES[1:], ["The Danube"], was_cut=np.array([False])
    )
    assert expected.prompt_ids == (RUN_IDS[1],)
    for sample, row in zip(scored(args, both), whole, strict=True):
        assert sample.reward["utility"] == pytest.approx(row["utility"]) == pytest.approx(float(expected.total[0]))
        assert sample.reward["liked/reward"] == pytest.approx(float(expected.properties["liked"].rewards[0]))
        assert not sample.remove_sample


def test_a_cut_answer_has_the_penalty(args: Namespace) -> None:
    finished, cut = scored(
        args, [Sample(MESSAGES[1], "The Danube"), Sample(MESSAGES[1], "The Danube", status=Status.TRUNCATED)]
    )
    assert cut.reward["utility"] == pytest.approx(finished.reward["utility"] - 0.5)


def test_a_failed_row_leaves_the_baseline_and_the_loss(args: Namespace) -> None:
    answers = [(0, "Mix flour and water."), (0, "odd"), (0, "Bake."), (0, "Bake it."), (1, "The Danube"), (1, "odd")]
    samples = scored(args, [Sample(MESSAGES[group], text, group) for group, text in answers])
    assert math.isnan(samples[1].reward["utility"])
    raw, advantages = centred(args, samples)
    kept = [0, 3]  # "Bake." is odd too, and the Danube has nobody to be compared with
    expected = rloo(torch.tensor([[raw[row] for row in kept]]))[0]
    np.testing.assert_allclose([advantages[row] for row in kept], expected, atol=1e-6)
    assert [sample.remove_sample for sample in samples] == [False, True, True, False, True, True]
    assert [math.isnan(value) for value in raw] == [False, True, True, False, False, True]
    with pytest.raises(DataError, match="none of 2 responses has a reward and another of its prompt"):
        centred(args, samples[4:])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"custom_reward_post_process_path": None}, "GRPO divides by the standard deviation"),
        ({"reward_key": None}, "--reward-key must be utility"),
        ({"kl_loss_coef": 0.01}, "gamma changes with every batch"),
    ],
)
def test_arguments_that_break_the_method_are_refused_at_the_first_call(
    args: Namespace, changes: dict[str, Any], message: str
) -> None:
    wrong = Namespace(**vars(args) | changes)
    with pytest.raises(ConfigError, match=message):
        asyncio.run(custom_rm(wrong, Sample(MESSAGES[1], "The Danube")))
    with pytest.raises(ConfigError, match=message):
        centred(wrong, [])


def test_rewards_must_be_named(args: Namespace) -> None:
    without = {name: value for name, value in vars(args).items() if name != "allgood_rewards"}
    with pytest.raises(ConfigError, match="allgood_rewards is missing in the file of --custom-config-path"):
        centred(Namespace(**without), [])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kl_coef": 0.0}, "nothing holds the policy"),
        ({"advantage_estimator": "grpo"}, "--kl-coef is gamma only with"),
        ({"rollout_temperature": 0.7}, "not drawn from the policy"),
    ],
)
def test_arguments_that_change_gamma_are_named_once(
    args: Namespace, changes: dict[str, Any], message: str, caplog: pytest.LogCaptureFixture
) -> None:
    samples = [Sample(MESSAGES[1], text, reward={"utility": -1.0}) for text in ("The Danube", "Odra")]
    with caplog.at_level(logging.WARNING, "allgood"):
        centred(args, samples)
        assert caplog.text == ""
        for _ in range(2):
            centred(Namespace(**vars(args) | changes), samples)
    assert caplog.text.count(message) == 1


def test_the_example_tells_slime_what_the_method_needs(
    args: Namespace, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    example = runpy.run_path(str(ROOT / "examples" / "slime_train.py"))
    example["write_inputs"](args.allgood_rewards, [MESSAGES[1][0]["content"]], tmp_path)
    told = _read(example["arguments"](tmp_path))
    told.allgood_rewards = yaml.safe_load(Path(told.custom_config_path).read_text())["allgood_rewards"]
    prompt = json.loads(Path(told.prompt_data).read_text().splitlines()[0])[told.input_key]
    with caplog.at_level(logging.WARNING, "allgood"):
        found = asyncio.run(custom_rm(told, Sample(prompt, "The Danube")))
    assert caplog.text == ""
    assert isinstance(found, dict)
    expected = AllGoodScorer.from_config(args.allgood_rewards).score(
        MESSAGES[1:], ["The Danube"], was_cut=np.array([False])
    )
    assert found["utility"] == float(expected.total[0])


def _read(arguments: list[str]) -> Namespace:
    """As slime's parser reads them; what is not told has its default there."""
    parser = ArgumentParser()
    for name in arguments:
        if name in ("--normalize-advantages", "--apply-chat-template"):
            parser.add_argument(name, action="store_true")
        elif name.startswith("--"):
            parser.add_argument(name, type=float if name in ("--kl-coef", "--rollout-temperature") else str)
    return Namespace(kl_loss_coef=0.0, rollout_top_p=1.0, **vars(parser.parse_args(arguments)))
