"""Served reward models as scorers, against servers that speak each dialect."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from allgood.conversations import Turn, as_prompt
from allgood.scorers.loading import load_scorer
from allgood.scorers.spec import HttpSpec, Server
from tests.actors.tiny_models import save_scorer
from tests.reward_server import RewardServer, reward_of, reward_server

QUESTIONS = ["Why?", "How do I bake bread?", "Where is the Danube?"]
PROMPTS = [as_prompt([Turn("human", question)]) for question in QUESTIONS]
RESPONSES = ["Because.", "Take flour, water and yeast.", ""]
HH = [f"{prompt} {response}".removesuffix(" ") for prompt, response in zip(PROMPTS, RESPONSES, strict=True)]
ROWS = [f"{prompt} {response}" for prompt, response in zip(PROMPTS, RESPONSES, strict=True)]
MESSAGES = [f"<user>{question}<assistant>{reply}" for question, reply in zip(QUESTIONS, RESPONSES, strict=True)]


@pytest.fixture
def server() -> Iterator[RewardServer]:
    with reward_server() as running:
        yield running


def scores(server: RewardServer, path: str, dialect: Any, *, settings: Any = None, **further: Any) -> np.ndarray:
    asked = Server(server.at(path), **(settings or {}))
    return load_scorer(HttpSpec("judge", asked, dialect, **further)).score(PROMPTS, RESPONSES).rewards


@pytest.mark.parametrize(
    ("path", "dialect", "further", "texts"),
    [
        ("/classify", "vllm_classify", {"template": "none"}, HH),
        ("/classify", "vllm_classify", {"template": "server"}, MESSAGES),
        ("/pooling", "vllm_pooling", {"template": "none"}, HH),
        ("/pooling", "vllm_pooling", {"template": "server"}, MESSAGES),
        ("/sglang", "sglang", {"template": "none"}, HH),
        ("/get_reward", "openrlhf", {"template": "none"}, HH),
        ("/v1/score", "allgood", {"served_property": "liked"}, ROWS),
    ],
)
def test_each_dialect_gives_the_rewards_of_its_server(
    server: RewardServer, path: str, dialect: str, further: dict[str, str], texts: list[str]
) -> None:
    rewards = scores(server, path, dialect, **further)
    assert rewards.dtype == np.float32
    np.testing.assert_allclose(rewards, [reward_of(text) for text in texts])


def test_requests_have_the_size_that_is_set(server: RewardServer) -> None:
    scores(server, "/sglang", "sglang", template="none", settings={"batch_size": 2})
    assert sorted(len(body["text"]) for body in server.asked) == [1, 2]


def test_a_template_is_applied_here_without_the_start_token_that_the_server_adds(
    server: RewardServer, tmp_path: Path
) -> None:
    from transformers import AutoTokenizer

    folder = save_scorer(tmp_path / "judge")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    start = tokenizer.bos_token or tokenizer.eos_token
    tokenizer.bos_token = start
    tokenizer.chat_template = (
        "{{ bos_token }}{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}"
        "{% if add_generation_prompt %}[assistant]{% endif %}"
    )
    tokenizer.save_pretrained(folder)
    scores(server, "/get_reward", "openrlhf", template="here", tokenizer=folder)
    (body,) = server.asked
    assert body["query"][0] == "[user]Why?[assistant]Because."
    assert body["prompts"][0] == "[user]Why?[assistant]"


def test_one_response_that_the_server_refuses_costs_no_other(server: RewardServer) -> None:
    responses = ["short", "too long", "fine", "good"]
    server.refuses = lambda text: "too long" in text
    scorer = load_scorer(HttpSpec("judge", Server(server.at("/classify")), "vllm_classify", template="none"))
    scored = scorer.score([PROMPTS[0]] * 4, responses)
    np.testing.assert_array_equal(np.isnan(scored.rewards), [False, True, False, False])
    assert list(scored.reasons) == [1]
    assert scored.reasons[1].startswith("the server refuses it: status 400")
    assert len(server.asked) == 5  # 4, 2 + 2, 1 + 1


def test_a_server_that_fails_gives_nan_with_the_reason_and_never_a_number(server: RewardServer) -> None:
    server.failures = [500] * 1000
    spec = HttpSpec("judge", Server(server.at("/sglang"), deadline_s=0.3), "sglang", template="none")
    scored = load_scorer(spec).score(PROMPTS, RESPONSES)
    assert np.isnan(scored.rewards).all()
    assert "gave no answer in 0.3 s" in scored.reasons[2]


def test_another_dialect_gives_nan_and_says_what_was_answered(server: RewardServer) -> None:
    spec = HttpSpec("judge", Server(server.at("/sglang")), "openrlhf", template="none")
    scored = load_scorer(spec).score(PROMPTS, RESPONSES)
    assert np.isnan(scored.rewards).all()
    assert "does not answer in this dialect" in scored.reasons[0]
    assert "embedding" in scored.reasons[0]
