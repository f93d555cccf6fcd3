"""A scorer that asks the service gives the numbers of the one that loads the models itself, and so does TRL over it."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from allgood.errors import ConfigError, RoleError
from allgood.integrations.sharing import open_rewards
from allgood.scorers.all_good_scorer import AllGoodScorer
from allgood.scorers.served_scorer import ServedScorer
from allgood.scorers.spec import Server
from tests.actors.tiny_models import save_policy, tokenizer
from tests.pipelines.serve.conftest import TEA, Served
from tests.templates import CHATML

pytestmark = pytest.mark.service

PROMPTS = [TEA, [{"role": "user", "content": "What is mate?"}], TEA, "<|im_start|>user\nHi<|im_end|>"]
RESPONSES = ["A drink made of leaves.", "Leaves in a gourd.", "A beverage.", "Hi."]


@pytest.fixture
def url(served: Served) -> str:
    return str(served.client.base_url)


def same(found: Any, expected: Any) -> None:
    assert found.ok.tolist() == expected.ok.tolist()
    assert found.reasons == expected.reasons
    assert found.prompt_ids == expected.prompt_ids
    assert found.reference_from == expected.reference_from
    np.testing.assert_allclose(found.total, expected.total, atol=1e-5)
    for name, view in expected.properties.items():
        for part in ("rewards", "references", "margins", "utilities", "p_good"):
            np.testing.assert_allclose(getattr(found.properties[name], part), getattr(view, part), atol=1e-5)


def test_it_gives_the_numbers_of_the_scorer_with_the_models(served: Served, url: str) -> None:
    expected = AllGoodScorer.from_config(served.rewards).score(PROMPTS, RESPONSES)
    scorer = open_rewards(url)
    found = scorer.score(PROMPTS, RESPONSES)
    same(found, expected)
    assert found.share_in_table == expected.share_in_table
    assert expected.judged.p_all_good is not None
    assert found.judged.p_all_good is not None
    np.testing.assert_allclose(found.judged.p_all_good, expected.judged.p_all_good, atol=1e-5)
    same(pickle.loads(pickle.dumps(scorer)).score(PROMPTS, RESPONSES), expected)
    in_parts = ServedScorer(Server(url, batch_size=3)).score(PROMPTS, RESPONSES)
    np.testing.assert_allclose(in_parts.total, expected.total, atol=1e-5)
    assert scorer.score([], []).total.shape == (0,)
    assert scorer.transforms == ("log_sigmoid", "log_sigmoid")


def test_another_objective_and_its_penalty(url: str, penalised: Path) -> None:
    scorer = ServedScorer(Server(url), objective="penalised")
    assert scorer.needs_was_cut
    cut = np.array([True, False, False])
    found = scorer.score(PROMPTS[:3], RESPONSES[:3], was_cut=cut)
    same(found, AllGoodScorer.from_config(penalised).score(PROMPTS[:3], RESPONSES[:3], was_cut=cut))
    assert found.judged.p_all_good is None
    with pytest.raises(ConfigError, match="no objective 'tasty'; it has default, penalised"):
        ServedScorer(Server(url), objective="tasty")


def test_a_refusal_and_a_wrong_address_are_one_sentence(url: str) -> None:
    scorer = ServedScorer(Server(url))
    with pytest.raises(RoleError, match="the service gave no rewards: status 422"):
        scorer.score([TEA], ["x" * 6000])
    with pytest.raises(ValueError, match="2 prompts, but 1 responses"):
        scorer.score([TEA, TEA], ["a"])
    with pytest.raises(RoleError, match="no `allgood serve` at that address"):
        ServedScorer(replace(Server("http://127.0.0.1:9"), deadline_s=0.3))


@pytest.mark.slow
def test_trl_reaches_the_same_rewards_over_the_service(served: Served, url: str, tmp_path: Path) -> None:
    from datasets import Dataset
    from trl import RLOOConfig, RLOOTrainer

    from allgood.integrations.trl import AllGoodReward, AllGoodRewardAsync, check

    save_policy(tmp_path / "policy")
    template = tokenizer()
    template.chat_template = CHATML
    prompts = Dataset.from_dict({"prompt": [[{"role": "user", "content": text}] for text in ("What is tea?", "Why?")]})
    settings: dict[str, Any] = {"per_device_train_batch_size": 8, "num_generations": 4, "max_completion_length": 6}
    settings |= {"max_steps": 2, "use_cpu": True, "bf16": False, "report_to": [], "save_strategy": "no"}
    rewards = []
    for reward in (AllGoodReward(served.rewards), AllGoodReward(url), AllGoodRewardAsync(url)):
        args = RLOOConfig(output_dir=str(tmp_path / "out"), beta=0.1, learning_rate=1e-3, logging_steps=1, **settings)
        trainer = RLOOTrainer(str(tmp_path / "policy"), reward, args, prompts, processing_class=template)
        check(trainer)
        trainer.train()
        rewards.append(next(iter(trainer._logs["rewards"].values())))
    assert np.isfinite(rewards[0]).any()
    for served_rewards in rewards[1:]:
        np.testing.assert_allclose(served_rewards, rewards[0], atol=1e-5)
