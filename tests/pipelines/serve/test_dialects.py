"""Other trainers' requests, as they send them, have the numbers of `/v1/score`; a failed row is an error."""

from __future__ import annotations

import math
from typing import Any

import pytest

from tests.pipelines.serve.conftest import TEA, Served

pytestmark = pytest.mark.service

DRINK = " A drink made of leaves."
LEAVES = " Leaves in a gourd."


@pytest.fixture(scope="module")
def native(served: Served) -> list[dict[str, Any]]:
    rows = [{"prompt": TEA, "response": response} for response in (DRINK, LEAVES)]
    answer: list[dict[str, Any]] = served.client.post("/v1/score", json={"rows": rows}).json()["rows"]
    return answer


def test_openrlhf_takes_log_p_as_reward_and_p_as_score(served: Served, native: list[dict[str, Any]]) -> None:
    body = {"query": [TEA + DRINK, TEA + LEAVES], "prompts": [TEA, TEA], "labels": [None, "x"]}
    for path in ("/get_reward", "/get_reward/default"):
        answer = served.client.post(path, json=body).json()
        assert answer["rewards"] == pytest.approx([row["utility"] for row in native], rel=1e-5)
        assert answer["scores"] == pytest.approx([math.exp(row["utility"]) for row in native], rel=1e-5)
        assert set(answer["extra_logs"]) == {"liked/utility", "free_of_b/utility"}


def test_slime_takes_one_number(served: Served, native: list[dict[str, Any]]) -> None:
    sample = {"prompt": [{"role": "user", "content": "What is tea?"}], "response": DRINK, "label": {"any": 1}}
    answer = served.client.post("/slime", json=sample)
    assert answer.json() == pytest.approx(native[0]["utility"], rel=1e-5)


def test_classify_answers_texts_and_messages(served: Served, native: list[dict[str, Any]]) -> None:
    texts = {"model": "default", "input": [TEA + DRINK, TEA + LEAVES], "use_activation": False}
    answer = served.client.post("/classify", json=texts).json()
    assert [row["probs"] for row in answer["data"]] == [pytest.approx([row["utility"]], rel=1e-5) for row in native]
    assert (answer["object"], answer["model"], answer["data"][1]["index"]) == ("list", "default", 1)
    messages = [{"role": "user", "content": "What is tea?"}, {"role": "assistant", "content": DRINK}]
    chat = served.client.post("/classify", json={"messages": messages}).json()
    assert chat["data"][0]["probs"] == pytest.approx([native[0]["utility"]], rel=1e-5)


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("/get_reward", {"query": [TEA + " A beverage."], "prompts": [TEA]}, 422, "row 0: free_of_b: scoring failed"),
        ("/get_reward", {"query": ["other"], "prompts": [TEA]}, 422, "does not start with its prompt"),
        ("/get_reward", {"query": [TEA, TEA], "prompts": [TEA]}, 422, "2 queries, but 1 prompts"),
        ("/get_reward", {"query": [], "prompts": []}, 422, "query"),
        ("/get_reward/penalised", {"query": [TEA + " Hi."], "prompts": [TEA]}, 422, "was_cut"),
        ("/get_reward/tasty", {"query": [TEA + " Hi."], "prompts": [TEA]}, 404, "no objective 'tasty'"),
        ("/slime", {"prompt": TEA, "response": "A beverage."}, 422, "free_of_b"),
        ("/classify", {"input": "What is tea? A drink."}, 422, "labels"),
        ("/classify", {"input": TEA + " A drink.\n\nHuman: And mate?"}, 422, "markup"),
        ("/classify", {"model": "tasty", "input": TEA + " Hi."}, 404, "no objective"),
        ("/classify", {}, 422, "either"),
        ("/classify", {"input": []}, 422, "empty"),
    ],
)
def test_what_has_no_number_is_an_error(served: Served, path: str, body: Any, status: int, words: str) -> None:
    answer = served.client.post(path, json=body)
    assert (answer.status_code, words in answer.json()["error"]) == (status, True), answer.text
