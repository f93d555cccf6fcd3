"""Whoever could connect from elsewhere needs the token; a loopback service answers to its own names only."""

from __future__ import annotations

import base64

import pytest

from allgood.errors import ConfigError
from pipelines.serve.access import is_known_host, may_ask, token_for
from pipelines.serve.settings import ServeSettings

TOKEN = "0123456789abcdef"
ANYWHERE = ServeSettings(host="0.0.0.0")


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ALLGOOD_SERVE_TOKEN", "RAY_AUTH_MODE", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)


def test_loopback_needs_no_token_and_other_hosts_do(monkeypatch: pytest.MonkeyPatch) -> None:
    assert token_for(ServeSettings()) is None
    with pytest.raises(ConfigError, match="ALLGOOD_SERVE_TOKEN must hold a bearer token"):
        token_for(ANYWHERE)
    monkeypatch.setenv("ALLGOOD_SERVE_TOKEN", TOKEN)
    assert token_for(ANYWHERE) == token_for(ServeSettings()) == TOKEN
    monkeypatch.setenv("ALLGOOD_SERVE_TOKEN", "short")
    with pytest.raises(ConfigError, match="has 5 characters"):
        token_for(ServeSettings())


@pytest.mark.parametrize(
    ("environment", "is_refused"),
    [
        ({"RAY_AUTH_MODE": "disabled"}, True),
        ({"RAY_ADDRESS": "10.0.0.1:6379"}, True),
        ({"RAY_ADDRESS": "10.0.0.1:6379", "RAY_AUTH_MODE": "token"}, False),
        ({}, False),  # a Ray that the command starts has its token on
    ],
)
def test_other_hosts_need_rays_token_too(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], is_refused: bool
) -> None:
    monkeypatch.setenv("ALLGOOD_SERVE_TOKEN", TOKEN)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    if is_refused:
        with pytest.raises(ConfigError, match="RAY_AUTH_MODE=token"):
            token_for(ANYWHERE)
    else:
        assert token_for(ANYWHERE) == TOKEN


@pytest.mark.parametrize(
    ("header", "allowed"),
    [
        (f"Bearer {TOKEN}", True),
        (f"bearer {TOKEN}", True),
        (f"Bearer {TOKEN}x", False),
        ("Bearer ", False),
        (TOKEN, False),
        ("", False),
        ("Basic " + base64.b64encode(f"any:{TOKEN}".encode()).decode(), True),  # http://any:TOKEN@host
        ("Basic " + base64.b64encode(TOKEN.encode()).decode(), False),
        ("Basic ?", False),
    ],
)
def test_the_token_is_a_bearer_or_the_password_of_a_url(header: str, allowed: bool) -> None:
    assert may_ask({b"authorization": header.encode()}, TOKEN) == allowed


@pytest.mark.parametrize(
    ("host", "known"),
    [
        ("127.0.0.1:8000", True),
        ("localhost", True),
        ("[::1]:8000", True),
        ("rebound.example:8000", False),
        ("127.0.0.1.example", False),
        ("", False),
    ],
)
def test_a_loopback_service_is_called_by_a_name_of_loopback(host: str, known: bool) -> None:
    assert is_known_host({b"host": host.encode()}) == known
