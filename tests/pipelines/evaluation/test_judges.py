"""The HTTP judge against a real server on loopback."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any

import numpy as np
import pytest

from allgood.errors import ConfigError, RoleError
from pipelines.evaluation.judges import KEY_VARIABLE, Duel, HttpJudge
from tests.http_server import serving_in_threads

Reply = Callable[[str, BaseHTTPRequestHandler], str]


@contextmanager
def judge_server(reply: Reply) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """An OpenAI-like server whose answer is `reply(question, handler)`; yields its address and the requests seen."""
    seen: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            seen.append({"path": self.path, "key": self.headers.get("Authorization"), **body})
            try:
                text = reply(body["messages"][0]["content"], self)
            except RedirectError as redirect:
                self.send_response(302)
                self.send_header("Location", redirect.target)
                self.end_headers()
                return
            payload = json.dumps({"choices": [{"message": {"role": "assistant", "content": text}}]}).encode()
            try:
                self.send_response(200)
                self.end_headers()
                self.wfile.write(payload)
            except OSError:  # the judge gave up waiting
                return

        def log_message(self, format: str, *args: object) -> None:
            return

    with serving_in_threads(Handler) as url:
        yield url, seen


class RedirectError(Exception):
    def __init__(self, target: str) -> None:
        self.target = target


def prefers(word: str) -> Reply:
    """A rater without position bias: the answer that contains `word` wins."""

    def reply(question: str, handler: BaseHTTPRequestHandler) -> str:
        first, second = question.split("[Answer A]")[1].split("[Answer B]")
        second = second.split("Reply with")[0]
        if (word in first) == (word in second):
            return "TIE"
        return "A" if word in first else "B."

    return reply


def duel(response: str, opponent: str) -> Duel:
    return Duel("helpful", "\n\nHuman: How?\n\nAssistant:", response, opponent)


def test_each_pair_is_asked_in_both_orders_and_ties_count_one_half() -> None:
    with judge_server(prefers("good")) as (url, seen):
        verdicts = HttpJudge(url, "m").compare([duel("good", "bad"), duel("bad", "good"), duel("bad", "bad")])
    assert verdicts.wins.tolist() == [1.0, 0.0, 0.5]
    assert (verdicts.num_failed, verdicts.share_consistent) == (0, 1.0)
    assert len(seen) == 6
    assert all(request["temperature"] == 0 and request["model"] == "m" for request in seen)
    assert {request["path"] for request in seen} == {"/v1/chat/completions"}


def test_a_judge_that_always_says_a_is_worth_one_half_and_called_inconsistent() -> None:
    with judge_server(lambda question, handler: "A") as (url, _):
        verdicts = HttpJudge(f"{url}/v1", "m").compare([duel("x", "y")] * 3)
    assert verdicts.wins.tolist() == [0.5, 0.5, 0.5]
    assert verdicts.share_consistent == 0.0


def test_an_unreadable_answer_leaves_its_pair_out_and_is_counted() -> None:
    def reply(question: str, handler: BaseHTTPRequestHandler) -> str:
        return "As a language model" if "odd" in question else "B"

    with judge_server(reply) as (url, seen):
        verdicts = HttpJudge(url, "m").compare([duel("odd", "y"), duel("x", "y")])
    assert np.isnan(verdicts.wins[0])
    assert verdicts.wins[1] == 0.5
    assert verdicts.num_failed == 1
    assert "names neither A nor B" in str(verdicts.first_failure)
    assert len(seen) == 2 * 2 + 2  # the odd questions were tried twice


def test_a_redirect_is_not_followed() -> None:
    with judge_server(prefers("good")) as (other, seen_elsewhere):

        def redirect(question: str, handler: BaseHTTPRequestHandler) -> str:
            raise RedirectError(f"{other}/v1/chat/completions")

        with judge_server(redirect) as (url, _), pytest.raises(RoleError, match="answered none of 2 questions.*302"):
            HttpJudge(url, "m").compare([duel("good", "bad")])
    assert seen_elsewhere == []


def test_a_silent_judge_times_out_with_a_message() -> None:
    def sleepy(question: str, handler: BaseHTTPRequestHandler) -> str:
        time.sleep(1.0)
        return "A"

    with judge_server(sleepy) as (url, _), pytest.raises(RoleError, match="timed out"):
        HttpJudge(url, "m", timeout_s=0.1, attempts=1).compare([duel("x", "y")])


def test_nobody_listening_is_an_error_with_the_address() -> None:
    with judge_server(prefers("good")) as (url, _):
        pass
    with pytest.raises(RoleError, match=url):
        HttpJudge(url, "m", attempts=1).compare([duel("x", "y")])


def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with judge_server(prefers("good")) as (url, _):
        assert HttpJudge(url, "m").compare([duel("good", "bad")]).wins.tolist() == [1.0]


def test_the_key_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "k")
    with judge_server(prefers("good")) as (url, seen):
        HttpJudge(url, "m").compare([duel("good", "bad")])
    assert seen[0]["key"] == "Bearer k"


@pytest.mark.parametrize("url", ["file:///etc/hosts", "127.0.0.1:8000", "http://", "http://me:secret@host/v1"])
def test_an_address_that_is_no_plain_http_address_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match=r"evaluate\.judge_url"):
        HttpJudge(url, "m")
