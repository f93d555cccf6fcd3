"""The native routes of a running service give the numbers of the scorer in one process, or say why not."""

from __future__ import annotations

from typing import Any

import httpx
import numpy as np
import pytest

from allgood.scorers.all_good_scorer import AllGoodScorer
from tests.pipelines.serve.conftest import LIMITS, TEA, Served

pytestmark = pytest.mark.service

ROWS: list[dict[str, Any]] = [
    {"prompt": TEA, "response": "A drink made of leaves."},
    {"prompt": [{"role": "user", "content": "What is mate?"}], "response": "Leaves in a gourd."},
    {"prompt": TEA, "response": "A beverage."},  # the rule fails on a b
    {"prompt": "<|im_start|>user\nHi<|im_end|>", "response": "Hi."},
]


def post(served: Served, body: Any, path: str = "/v1/score") -> httpx.Response:
    return served.client.post(path, json=body)


def test_answers_are_those_of_the_scorer_in_one_process(served: Served) -> None:
    answer = post(served, {"rows": ROWS}).json()
    local = AllGoodScorer.from_config(served.rewards).score(
        [row["prompt"] for row in ROWS], [row["response"] for row in ROWS]
    )
    assert answer["share_in_table"] == local.share_in_table
    assert [row["ok"] for row in answer["rows"]] == [True, True, False, False]
    for remote, mine in zip(answer["rows"], local.answer()["rows"], strict=True):
        assert remote["reason"] == mine["reason"]
        assert remote["prompt_id"] == mine["prompt_id"]
        assert (remote["utility"] is None) == (mine["utility"] is None)
        for name, part in mine["properties"].items():
            found = remote["properties"][name]
            assert found["reference_from"] == part["reference_from"]
            for key in ("reward", "reference", "margin", "utility", "p_good"):
                assert (found[key] is None) == (part[key] is None)
                if found[key] is not None:
                    assert found[key] == pytest.approx(part[key], rel=1e-5, abs=1e-5)
    assert {part["reference_from"] for part in answer["rows"][1]["properties"].values()} == {"fallback", "replies"}


def test_many_rows_are_split_and_come_back_in_order(served: Served) -> None:
    rows = [{"prompt": TEA, "response": "leaf " * number} for number in range(1, 31)]
    together = post(served, {"rows": rows}).json()["rows"]
    alone = [post(served, {"rows": [row]}).json()["rows"][0] for row in rows[::7]]
    rewards = [row["properties"]["liked"]["reward"] for row in together]
    assert len(set(rewards)) == len(rows)
    expected = [row["properties"]["liked"]["reward"] for row in alone]
    np.testing.assert_allclose(rewards[::7], expected, rtol=1e-5, atol=1e-5)


def test_objectives_are_described_the_first_one_first(served: Served) -> None:
    default, penalised = served.client.get("/v1/objectives").json()["objectives"]
    assert (default["name"], default["expression"], default["says_p_all_good"]) == (
        "default",
        "liked & free_of_b",
        True,
    )
    assert default["properties"]["liked"]["references"] == ["table", "fallback"]
    assert (penalised["name"], penalised["expression"], penalised["needs_was_cut"]) == ("penalised", None, True)


def test_a_penalty_needs_to_know_what_was_cut(served: Served) -> None:
    row = {"prompt": TEA, "response": "A drink."}
    whole, cut = (
        post(served, {"objective": "penalised", "rows": [row | {"was_cut": was_cut}]}).json()["rows"][0]["utility"]
        for was_cut in (False, True)
    )
    assert whole - cut == pytest.approx(0.5)
    answer = post(served, {"objective": "penalised", "rows": [row]})
    assert answer.status_code == 422
    assert "was_cut" in answer.json()["error"]


def test_known_rewards_are_judged_against_other_references(served: Served) -> None:
    rewards = {"liked": 1.0, "free_of_b": 2.0}
    references = [{"liked": 1.0, "free_of_b": 2.0}, {"liked": 0.0, "free_of_b": 2.0}]
    rows = [{"rewards": rewards, "references": reference} for reference in references]
    answer = post(served, {"rows": rows}, "/v1/what-if").json()["rows"]
    # log(1/2 * 1/2), log(sigma(1) * 1/2)
    assert [row["utility"] for row in answer] == pytest.approx([-1.3862944, -1.0064088], rel=1e-5)
    assert answer[1]["properties"]["liked"]["p_good"] == pytest.approx(0.7310586, rel=1e-5)
    problem = post(served, {"rows": [{"rewards": {"liked": 1.0}, "references": {"liked": 1.0}}]}, "/v1/what-if")
    assert problem.status_code == 422


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"{", 400, "no JSON"),
        (b'{"rows": []}', 422, "rows"),
        (b'{"rows": [{"prompt": 3, "response": "x"}]}', 422, "rows.0.prompt"),
        (b'{"rows": [{"prompt": "x"}]}', 422, "rows.0.response"),
        (b'{"rows": [{"prompt": "x", "response": "y", "score": 1}]}', 422, "rows.0.score"),
        (b'{"rows": [{"prompt": "x", "response": "y"}], "objective": "tasty"}', 404, "there are: default, penalised"),
        (b'{"rows": [{"prompt": NaN, "response": "y"}]}', 422, "rows.0.prompt"),
        (b'{"rows": [{"prompt": "\\ud800", "response": "y"}]}', 422, "rows.0.prompt"),
        (b"[" * 100_000, 413, "longer than 100000 bytes"),
        (b"[" * 50_000, 400, ""),
        (b"\xff\xfe", 400, ""),
    ],
)
def test_a_bad_body_has_the_right_status_and_one_line(served: Served, body: bytes, status: int, words: str) -> None:
    answer = served.client.post("/v1/score", content=body + b" " * (status == 413), headers=JSON)
    assert answer.status_code == status
    problem = answer.json()["error"]
    assert words in problem
    assert "\n" not in problem


JSON = {"Content-Type": "application/json"}


def test_a_prompt_of_ten_megabytes_is_refused_and_the_service_stays_up(served: Served) -> None:
    answer = post(served, {"rows": [{"prompt": "x" * 10_000_000, "response": "y"}]})
    assert answer.status_code == 413
    long = post(served, {"rows": [{"prompt": "x" * (LIMITS.characters + 1), "response": "y"}]})
    assert (long.status_code, "`prompt` has 5001 characters" in long.json()["error"]) == (422, True)
    many = post(served, {"rows": [{"prompt": "x", "response": "y"}] * (LIMITS.rows + 1)})
    assert (many.status_code, "limits.rows" in many.json()["error"]) == (422, True)
    assert post(served, {"rows": ROWS[:1]}).json()["rows"][0]["ok"]


def test_state_metrics_and_openapi(served: Served) -> None:
    assert served.client.get("/healthz").json() == {"status": "ready"}
    assert served.client.get("/readyz").status_code == 200
    post(served, {"rows": ROWS[:1]})
    metrics = served.client.get("/metrics").text
    assert 'allgood_rows_total{objective="default",result="ok"}' in metrics
    assert 'allgood_requests_total{route="/v1/score",status="200"}' in metrics
    document = served.client.get("/openapi.json").json()
    assert {"/v1/score", "/v1/what-if", "/v1/objectives", "/get_reward", "/slime", "/classify"} <= set(
        document["paths"]
    )
    assert served.client.get("/nothing").status_code == 404
    assert served.client.get("/v1/score").status_code == 405


def test_the_openapi_example_of_a_request_is_answered(served: Served) -> None:
    schemas = served.client.get("/openapi.json").json()["components"]["schemas"]
    example = {key: setting["examples"][0] for key, setting in schemas["Row"]["properties"].items() if key != "was_cut"}
    row = post(served, {"rows": [example]}).json()["rows"][0]
    assert row["properties"]["liked"]["reference_from"] == "fallback"
    assert "free_of_b" in row["reason"]  # the example has a b
