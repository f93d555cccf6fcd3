"""One request: retries until the deadline, refusals at once, and nothing that leaks a token."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest

from allgood.errors import ConfigError, RoleError
from allgood.scorers.http_client import BadBatchError, HttpClient, NoAnswerError
from allgood.scorers.spec import Server
from tests.reward_server import RewardServer, reward_of, reward_server

BODY = {"text": ["good"]}


@pytest.fixture
def server() -> Iterator[RewardServer]:
    with reward_server() as running:
        yield running


def client(server: RewardServer, **settings: object) -> HttpClient:
    return HttpClient(Server(server.at("/sglang"), **settings))  # type: ignore[arg-type]


def test_an_answer_comes_back(server: RewardServer) -> None:
    assert client(server).post(BODY) == [{"embedding": [reward_of("good")], "meta_info": {}}]


def test_a_busy_server_is_asked_again(server: RewardServer) -> None:
    server.failures = [503, 429, 500]
    assert client(server).post(BODY)[0]["embedding"] == [reward_of("good")]
    assert len(server.asked) == 4


def test_the_pause_that_a_server_asks_for_is_kept(server: RewardServer) -> None:
    server.failures, server.headers = [429], {"Retry-After": "1"}
    started = time.monotonic()
    client(server).post(BODY)
    assert time.monotonic() - started >= 1.0


def test_the_deadline_holds_for_all_retries_and_names_the_last_problem(server: RewardServer) -> None:
    server.failures = [503] * 1000
    started = time.monotonic()
    with pytest.raises(NoAnswerError, match=r'gave no answer in 1 s, at last status 503: {"error": "status 503"}'):
        client(server, deadline_s=1.0).post(BODY)
    assert time.monotonic() - started < 5.0
    assert len(server.asked) > 1


def test_a_server_that_hangs_or_is_not_there_gives_no_answer(server: RewardServer) -> None:
    server.pause_s = 2.0
    with pytest.raises(NoAnswerError, match="ReadTimeout"):
        client(server, deadline_s=0.5).post(BODY)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(NoAnswerError, match="ConnectError"):
            HttpClient(Server(nobody, deadline_s=0.5)).post(BODY)


@pytest.mark.parametrize("status", [401, 403, 404, 405])
def test_a_refusal_that_stays_ends_at_once(server: RewardServer, status: int) -> None:
    server.failures = [status]
    with pytest.raises(RoleError, match=rf"refuses to answer; look at `server.url`.*status {status}"):
        client(server).post(BODY)
    assert len(server.asked) == 1


def test_a_redirect_is_not_followed(server: RewardServer) -> None:
    server.failures, server.headers = [307], {"Location": server.at("/classify")}
    with pytest.raises(RoleError, match="redirects, which is not followed"):
        client(server).post(BODY)
    assert len(server.asked) == 1


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_body_that_is_refused_is_not_sent_again(server: RewardServer, status: int) -> None:
    server.failures = [status]
    with pytest.raises(BadBatchError, match=f"status {status}"):
        client(server).post(BODY)
    assert len(server.asked) == 1


def test_the_token_comes_from_the_environment(server: RewardServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUDGE_TOKEN", "secret")
    client(server, token_env="JUDGE_TOKEN").post(BODY)
    assert server.sent[0]["authorization"] == "Bearer secret"
    monkeypatch.delenv("JUDGE_TOKEN")
    with pytest.raises(ConfigError, match="names JUDGE_TOKEN, which is not set"):
        client(server, token_env="JUDGE_TOKEN")


def test_a_proxy_of_the_environment_is_not_used(server: RewardServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    assert client(server, deadline_s=5.0).post(BODY)[0]["embedding"] == [reward_of("good")]


def test_an_answer_without_an_end_is_not_read(server: RewardServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("allgood.scorers.http_client._LARGEST_ANSWER", 10)
    with pytest.raises(RoleError, match="which no rewards need"):
        client(server).post(BODY)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("host:8000/classify", "must begin with http:// or https://"),
        ("file:///etc/passwd", "must begin with http:// or https://"),
        ("http://", "must begin with http:// or https://"),
        ("http://me:secret@host/classify", "holds a name or password"),
    ],
)
def test_an_address_that_is_none_or_holds_a_secret_is_refused(url: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as refusal:
        HttpClient(Server(url))
    assert "secret" not in str(refusal.value)
