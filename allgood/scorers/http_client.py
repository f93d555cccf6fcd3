"""One request to a server of rewards, with retries until its deadline.

Redirects are not followed (the token would go along), proxies of the environment are not used, and an answer that is
longer than any reward needs is not read.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Iterator
from typing import Any

import httpx

from allgood.errors import ConfigError, RoleError
from allgood.scorers.spec import Server

_LARGEST_ANSWER = 32 * 2**20  # bytes
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 10.0
_BAD_BATCH = frozenset({400, 413, 422})
_PASSES = frozenset({408, 425, 429})  # and everything from 500 up


class BadBatchError(Exception):
    """The server refuses what it was asked; a part of it may be fine."""


class NoAnswerError(Exception):
    """There was no answer before the deadline."""


class HttpClient:
    """Asks one address.

    Raises:
        ConfigError: The address is none, or the environment lacks the token.
    """

    def __init__(self, server: Server) -> None:
        self._url = _checked(server.url)
        self._deadline_s = server.deadline_s
        self._client = httpx.Client(
            headers=_authorization(server.token_env),
            follow_redirects=False,
            trust_env=False,
            limits=httpx.Limits(max_connections=server.connections),
        )

    def get(self) -> Any:
        """The JSON at the address. Raises as `post`."""
        return self._answer(None)

    def post(self, body: dict[str, Any]) -> Any:
        """The JSON that answers `body`.

        Raises:
            BadBatchError: The server refuses the body.
            NoAnswerError: No answer within the deadline.
            RoleError: The server will never answer: it refuses the token, knows no such address, or redirects.
        """
        return self._answer(body)

    def _answer(self, body: dict[str, Any] | None) -> Any:
        until = time.monotonic() + self._deadline_s
        problem = "no time was left"
        for pause in _pauses():
            left = until - time.monotonic()
            if left <= 0:
                break
            try:
                status, content, retry_after = self._once(body, left)
            except httpx.TransportError as error:
                problem = f"{type(error).__name__} {error}".strip()
            else:
                if status == httpx.codes.OK:
                    return _parsed(content)
                problem = f"status {status}: {content[:200].decode('utf-8', 'replace').strip()}"
                self._refuse(status, problem)
                pause = max(pause, retry_after)
            if time.monotonic() + pause >= until:
                break
            time.sleep(pause)
        raise NoAnswerError(f"{self._url} gave no answer in {self._deadline_s:g} s, at last {problem}")

    def _once(self, body: dict[str, Any] | None, seconds: float) -> tuple[int, bytes, float]:
        """Status, content, and the pause in seconds that the server asks for."""
        ends = time.monotonic() + seconds
        method = "GET" if body is None else "POST"
        with self._client.stream(method, self._url, json=body, timeout=httpx.Timeout(seconds)) as response:
            content = b""
            for part in response.iter_bytes():
                content += part
                if len(content) > _LARGEST_ANSWER:
                    raise RoleError(f"{self._url} answers more than {_LARGEST_ANSWER >> 20} MB, which no rewards need")
                if time.monotonic() > ends:  # a timeout of httpx is for each read
                    raise httpx.ReadTimeout("the answer is not complete")
            after = response.headers.get("retry-after", "")
        return response.status_code, content, float(after) if after.isdecimal() else 0.0

    def _refuse(self, status: int, problem: str) -> None:
        if status in _BAD_BATCH:
            raise BadBatchError(problem)
        if 300 <= status < 400:
            raise RoleError(f"{self._url} redirects, which is not followed; give the address that answers ({problem})")
        if 400 <= status < 500 and status not in _PASSES:
            raise RoleError(f"{self._url} refuses to answer; look at `server.url` and `server.token_env` ({problem})")


def _checked(url: str) -> str:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise ConfigError(f"server.url {url!r} is no address: {error}") from error
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ConfigError(f"server.url {url!r} must begin with http:// or https:// and a host")
    if parsed.userinfo:
        raise ConfigError(
            "server.url holds a name or password, which configurations and logs would show; put a token into an "
            "environment variable and name it in `server.token_env`"
        )
    return url


def _authorization(variable: str | None) -> dict[str, str]:
    if variable is None:
        return {}
    token = os.environ.get(variable, "")
    if not token:
        raise ConfigError(f"server.token_env names {variable}, which is not set where the scorer runs")
    return {"authorization": f"Bearer {token}"}


def _parsed(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError as error:
        raise BadBatchError(f"it answers no JSON ({error})") from error


def _pauses() -> Iterator[float]:
    """Twice as long each time, and scattered, so that many who wait do not come back at once."""
    pause = _FIRST_PAUSE_S
    while True:
        yield pause * random.uniform(0.5, 1.0)
        pause = min(2 * pause, _LONGEST_PAUSE_S)
