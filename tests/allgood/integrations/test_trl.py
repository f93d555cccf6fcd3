"""TRL, for real: both trainers take steps with our reward, and see what the scorer says of the same texts."""

from __future__ import annotations

import asyncio
import copy
import logging
import pickle
import runpy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer

from allgood.advantages import rloo
from allgood.errors import ConfigError, DataError
from allgood.integrations.trl import AllGoodReward, AllGoodRewardAsync, check
from allgood.scorers.all_good_scorer import AllGoodScorer
from tests.actors.tiny_models import save_policy, save_scorer, tokenizer
from tests.allgood.integrations.rewards_for_trainers import CANONICAL, MESSAGES, RUN_IDS, scorer_of_a_run
from tests.templates import CHATML

GAMMA = 0.1
SHARED: dict[str, Any] = {
    "per_device_train_batch_size": 8,
    "num_generations": 4,
    "max_completion_length": 6,
    "max_steps": 2,
    "logging_steps": 1,
    "learning_rate": 1e-3,
    "use_cpu": True,
    "bf16": False,
    "report_to": [],
    "save_strategy": "no",
    "disable_tqdm": True,
}
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trl")
    save_policy(folder / "policy")
    _with_template().save_pretrained(folder / "policy")
    return folder


@pytest.fixture(scope="module")
def scorer(folder: Path) -> AllGoodScorer:
    return scorer_of_a_run(folder)


def rloo_trainer(folder: Path, reward: Any, *, prompts: Sequence[Any] = MESSAGES, **settings: Any) -> RLOOTrainer:
    args = RLOOConfig(output_dir=str(folder / "rloo"), beta=GAMMA, **SHARED | settings)
    return RLOOTrainer(str(folder / "policy"), reward, args, _dataset(prompts), processing_class=_with_template())


def grpo_trainer(folder: Path, reward: Any, **settings: Any) -> GRPOTrainer:
    args = GRPOConfig(
        output_dir=str(folder / "grpo"),
        **SHARED | {"scale_rewards": "none", "loss_type": "dr_grpo", "beta": 0.05} | settings,
    )
    return GRPOTrainer(str(folder / "policy"), reward, args, _dataset(MESSAGES), processing_class=_with_template())


def _dataset(prompts: Sequence[Any]) -> Dataset:
    return Dataset.from_dict({"prompt": list(prompts) * 4})


def _with_template() -> Any:
    found = tokenizer()
    found.chat_template = CHATML
    return found


@pytest.mark.parametrize("make", [grpo_trainer, rloo_trainer])
def test_a_trainer_takes_steps_and_its_rewards_are_those_of_the_scorer(
    folder: Path, scorer: AllGoodScorer, make: Any
) -> None:
    trainer = make(folder, AllGoodReward(scorer))
    check(trainer)
    before = [parameter.detach().clone() for parameter in trainer.model.parameters()]
    trainer.train()
    assert any(not torch.equal(old, new) for old, new in zip(before, trainer.model.parameters(), strict=True))

    logs = trainer._logs  # of the last step: what was answered, and what each answer was worth
    scores = scorer.score(list(logs["prompt"]), list(logs["completion"]))
    assert set(scores.prompt_ids) == set(RUN_IDS)
    assert 0 < scores.ok.sum() < 8
    np.testing.assert_array_equal(np.array(logs["rewards"]["AllGoodReward"]), scores.total)  # NaN where it failed
    assert [reason is None for reason in logs["extra"]["allgood/failed because"]] == scores.ok.tolist()

    last = trainer.state.log_history[-2]
    assert last["allgood/failed"] == pytest.approx(1 - scores.ok.mean())
    assert last["allgood/utility"] == pytest.approx(scores.total[scores.ok].mean(), abs=1e-6)
    liked = scores.properties["liked"]
    assert last["allgood/liked/reward"] == pytest.approx(liked.rewards.mean(), abs=1e-6)
    assert last["allgood/liked/p_good"] == pytest.approx(liked.p_good.mean(), abs=1e-6)


def test_beta_of_rloo_is_gamma_and_a_failed_row_leaves_its_group(folder: Path, scorer: AllGoodScorer) -> None:
    ours = AllGoodReward(scorer)
    kl: list[float] = []

    def reward(prompts: list[str], completions: list[str], completion_ids: list[list[int]], **columns: Any) -> Any:
        for prompt, ids in zip(prompts, completion_ids, strict=True):
            start = trainer.processing_class(prompt)["input_ids"]
            kl.append(log_prob(trainer.model, start, ids) - log_prob(trainer.ref_model, start, ids))
        return ours(prompts, completions, completion_ids, **columns)

    trainer = rloo_trainer(folder, reward, prompts=CANONICAL, max_steps=1)
    with torch.no_grad():  # a policy that has moved away from pi_0
        for parameter in trainer.model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    trainer.train()

    utilities = np.array(trainer._logs["rewards"]["reward"])
    kept = np.isfinite(utilities)
    assert 0 < kept.sum() < 8
    assert max(kl) > 0.1
    returns = torch.from_numpy(utilities - GAMMA * np.array(kl))[kept]
    expected = np.zeros(8)
    expected[kept] = rloo(returns, torch.from_numpy(np.repeat([0, 1], 4)[kept]))
    np.testing.assert_allclose(trainer._logs["advantages"], expected, atol=1e-5)


def log_prob(model: Any, start: list[int], response: list[int]) -> float:
    """log pi of a response, all tokens together."""
    with torch.no_grad():
        logits = model(torch.tensor([start + response])).logits[0]
    rows = logits.log_softmax(-1)[len(start) - 1 : -1]
    return float(rows.gather(1, torch.tensor(response)[:, None]).sum())


def test_a_coroutine_a_copy_and_rendered_prompts_give_the_same(folder: Path, scorer: AllGoodScorer) -> None:
    completions = ["Mix flour and water.", "The Danube", "odd"]
    messages = [MESSAGES[0], MESSAGES[1], MESSAGES[1]]
    reward = AllGoodReward(scorer)
    expected = reward(messages, [[{"role": "assistant", "content": text}] for text in completions])
    assert [value is None for value in expected] == [False, False, True]
    assert asyncio.run(AllGoodRewardAsync(scorer)(messages, completions)) == expected
    assert pickle.loads(pickle.dumps(reward))(messages, completions) == expected

    _with_template().save_pretrained(folder / "template")
    of_rendered = AllGoodReward(scorer_of_a_run(folder, policy_template=str(folder / "template")))
    rendered = [_with_template().apply_chat_template(m, tokenize=False, add_generation_prompt=True) for m in messages]
    assert of_rendered(rendered, completions) == expected


def test_where_every_row_fails_training_stops(scorer: AllGoodScorer) -> None:
    with pytest.raises(DataError, match="none of 2 responses has a reward; the first: even: scoring failed"):
        AllGoodReward(scorer)(MESSAGES, ["odd", "odd"])
    assert AllGoodReward(scorer)([], []) == []


def test_the_penalty_falls_on_answers_without_an_end_token(folder: Path) -> None:
    scorer = scorer_of_a_run(folder, missing_eos_penalty=0.5)
    with pytest.raises(ConfigError, match="missing_eos_penalty needs end_token_ids"):
        AllGoodReward(scorer)
    reward = AllGoodReward(scorer, end_token_ids={2})
    finished, cut = reward(MESSAGES[:1] * 2, ["Bake it."] * 2, [[7, 2], [7, 9]])
    assert finished is not None
    assert cut == pytest.approx(finished - 0.5)
    other = AllGoodReward(scorer, end_token_ids={3})
    with pytest.raises(ConfigError, match=r"end_token_ids of the reward are \[3\], but the trainer ends responses at"):
        check(rloo_trainer(folder, other))


@pytest.fixture(scope="module")
def trainers(folder: Path, scorer: AllGoodScorer) -> dict[str, Any]:
    reward = AllGoodRewardAsync(scorer)
    return {"grpo": grpo_trainer(folder, reward), "rloo": rloo_trainer(folder, reward)}


def changed(trainer: Any, **settings: Any) -> Any:
    """A copy of the trainer with other arguments."""
    other = copy.copy(trainer)
    other.args = copy.copy(trainer.args)
    for name, value in settings.items():
        assert hasattr(other.args, name)
        setattr(other.args, name, value)
    return other


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        ("grpo", {"scale_rewards": "group"}, "set scale_rewards='none'"),
        ("grpo", {"scale_rewards": "batch"}, "gamma silently changes with every batch"),
        ("grpo", {"multi_objective_aggregation": "normalize_then_sum"}, "leave multi_objective_aggregation out"),
        ("grpo", {"reward_weights": [0.5]}, "divides gamma by as much"),
        ("rloo", {"reward_weights": [2.0]}, "divides gamma by as much"),
    ],
)
def test_switches_that_break_the_method_are_refused(
    trainers: dict[str, Any], kind: str, settings: dict[str, Any], message: str
) -> None:
    check(trainers[kind])
    with pytest.raises(ConfigError, match=message):
        check(changed(trainers[kind], **settings))


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        ("grpo", {}, "no value of it is gamma"),
        ("grpo", {"beta": 0.0}, "nothing holds the policy"),
        ("grpo", {"loss_type": "dapo"}, "divides by the lengths"),
        ("rloo", {"temperature": 0.7, "top_k": 50}, "temperature, top_k: responses are not drawn from the policy"),
        ("rloo", {"sync_ref_model": True}, "reference points stay those of pi_0"),
        ("rloo", {"reward_clip_range": (-2.0, 2.0)}, "a better answer is worth no more"),
        ("rloo", {"normalize_advantages": True}, "the learning rate does not"),
    ],
)
def test_switches_that_change_what_gamma_means_are_named(
    trainers: dict[str, Any], kind: str, settings: dict[str, Any], message: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "allgood"):
        check(changed(trainers[kind], **settings))
    assert message in caplog.text


def test_a_trainer_with_the_defaults_of_the_page_has_nothing_to_warn_of(
    trainers: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "allgood"):
        check(trainers["rloo"])
    assert caplog.text == ""


def test_our_reward_stands_alone(folder: Path, scorer: AllGoodScorer, trainers: dict[str, Any]) -> None:
    def another(prompts: list[Any], **columns: Any) -> list[float]:
        return [1.0] * len(prompts)

    two = copy.copy(trainers["rloo"])
    two.reward_funcs = [AllGoodReward(scorer), another]
    with pytest.raises(ConfigError, match="has 2 reward functions: where ours fails, TRL would count it as 0"):
        check(two)
    two.reward_funcs = [another]
    with pytest.raises(ConfigError, match="give AllGoodReward or AllGoodRewardAsync"):
        check(two)


def test_the_example_trains_a_policy(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_scorer(folder / "yaml" / "models" / "helpful")
    (folder / "yaml" / "rewards.yaml").write_text(
        "properties: {helpful: {model: models/helpful, device: cpu, reference: {kind: constant, value: 0.5}}}\n"
    )
    example = runpy.run_path(str(ROOT / "examples" / "trl_rloo.py"))
    settings = SHARED | {"max_steps": 1, "output_dir": str(folder / "example")}
    example["train"](str(folder / "yaml"), str(folder / "policy"), ["Name a river."], **settings)
    *_, utility, kl = capsys.readouterr().out.splitlines()
    assert utility.startswith("utility -")
    assert kl == "KL 0.000 nats per token"
