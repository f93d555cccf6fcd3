"""OpenRLHF 0.11: what `openrlhf/utils/agent.py` calls, and what it does with the answer."""

from __future__ import annotations

import importlib.util
import logging
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from allgood.errors import ConfigError, DataError
from allgood.integrations.openrlhf import AllGoodReward, check
from allgood.scorers.all_good_scorer import AllGoodScorer
from tests.allgood.integrations.rewards_for_trainers import (
    MESSAGES,
    RUN_IDS,
    folder_of_a_run,
    scorer_of_a_run,
    template_of_a_run,
)

ROOT = Path(__file__).parents[3]
GOOD = ["--algo.advantage.estimator", "rloo", "--algo.kl.init_coef", "0.1", "--algo.dynamic_filtering_enable"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("openrlhf")


@pytest.fixture(scope="module")
def scorer(folder: Path) -> AllGoodScorer:
    return scorer_of_a_run(folder, policy_template=template_of_a_run(folder).name_or_path)


def query(folder: Path, row: int, response: str) -> tuple[str, str]:
    """(query, prompt) as the trainer sends them: rendered, with the end token of the answer."""
    prompt = template_of_a_run(folder).apply_chat_template(MESSAGES[row], tokenize=False, add_generation_prompt=True)
    return f"{prompt}{response}<|im_end|>", prompt


def test_a_rendered_query_is_the_row_of_the_run(folder: Path, scorer: AllGoodScorer) -> None:
    queries, prompts = zip(query(folder, 0, "Mix flour and water."), query(folder, 1, "The Danube"), strict=True)
    answer = AllGoodReward(scorer, filtering=True)(list(queries), list(prompts), [None, None])
    expected = scorer.score(MESSAGES, ["Mix flour and water.", "The Danube"])
    assert expected.prompt_ids == tuple(RUN_IDS)
    np.testing.assert_array_equal(answer["rewards"].numpy(), expected.total)
    np.testing.assert_allclose(answer["scores"].numpy(), np.exp(expected.total), rtol=1e-5)  # P(all good)
    np.testing.assert_allclose(
        answer["extra_logs"]["allgood/liked/reward"].numpy(), expected.properties["liked"].rewards, rtol=1e-6
    )


def test_the_trainer_can_read_one_row(folder: Path, scorer: AllGoodScorer) -> None:
    text, prompt = query(folder, 1, "The Danube")
    info = AllGoodReward(scorer, filtering=True)([text], [prompt], [None])
    # as `_process_response_into_experience` does
    assert torch.tensor([info["rewards"]]).shape == torch.tensor([info["scores"]]).shape == (1,)
    assert all(isinstance(value.flatten()[0].item(), float) for value in info["extra_logs"].values())


def test_a_failed_row_makes_the_filter_drop_its_prompt_or_stops(folder: Path, scorer: AllGoodScorer) -> None:
    text, prompt = query(folder, 1, "odd")
    scores = [0.5, AllGoodReward(scorer, filtering=True)([text], [prompt])["scores"][0].item()]
    assert math.isnan(scores[1])
    assert not 0 < sum(scores) / 2 < 1  # `samples_generator.py` keeps a prompt only if min < mean < max
    with pytest.raises(DataError, match="OpenRLHF without dynamic filtering cannot leave it out: even: scoring failed"):
        AllGoodReward(scorer, filtering=False)([text], [prompt])


def test_a_query_without_its_prompt_is_refused(scorer: AllGoodScorer) -> None:
    with pytest.raises(ConfigError, match="the query does not begin with its prompt"):
        AllGoodReward(scorer, filtering=True)(["of the prompt"], ["The end of the prompt"])


def test_the_penalty_falls_on_answers_without_an_end_token(folder: Path) -> None:
    scorer = scorer_of_a_run(folder, missing_eos_penalty=0.5, policy_template=template_of_a_run(folder).name_or_path)
    with pytest.raises(ConfigError, match="OpenRLHF without end_tokens does not tell"):
        AllGoodReward(scorer, filtering=True)
    text, prompt = query(folder, 1, "The Danube")
    cut = text.removesuffix("<|im_end|>")
    found = AllGoodReward(scorer, filtering=True, end_tokens=["<|im_end|>"])([text, cut], [prompt, prompt])["rewards"]
    assert float(found[1]) == pytest.approx(float(found[0]) - 0.5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--algo.advantage.estimator", "group_norm"], "erases how far the prompt is from good"),
        (["--reward.stop_properly_penalty_coef", "0.5"], "a cut answer gets a better reward"),
        (["--algo.advantage.estimator=gae", "--algo.kl.use_loss"], "gamma changes with every batch"),
    ],
)
def test_arguments_that_break_the_method_are_refused(arguments: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check([*GOOD, *arguments])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--algo.kl.init_coef", "0"], "nothing holds the policy"),
        (["--algo.kl.estimator", "k3"], "gamma only with the estimator k1"),
        (["--algo.advantage.gamma", "0.9"], "a discount"),
        (["--rollout.temperature", "0.7"], "not drawn from the policy"),
    ],
)
def test_arguments_that_change_gamma_are_named(
    arguments: list[str], message: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "allgood"):
        check(GOOD)
        assert caplog.text == ""
        check([*GOOD, *arguments])
    assert message in caplog.text


def test_the_example_is_a_file_that_openrlhf_loads(tmp_path: Path) -> None:
    example = tmp_path / "openrlhf_reward.py"
    example.write_text((ROOT / "examples" / "openrlhf_reward.py").read_text())
    folder_of_a_run(tmp_path / "rewards_of_first")
    spec = importlib.util.spec_from_file_location("reward_func", example)  # as `SingleTurnAgentExecutor` does
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.reward_func(["Name a river.Odra"], ["Name a river."], [None])["rewards"][0] < 0
