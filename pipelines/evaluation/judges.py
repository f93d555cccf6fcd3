"""An OpenAI-compatible judge over HTTP: which of two responses is better in one respect.

Every pair is asked in both orders and the two answers are averaged, so that a judge who prefers a position is worth one
half. It talks to the configured address and to nobody else: no redirects, no proxies. An answer that cannot be read
leaves its pair out, counted; it is never a tie. A key, where one is needed, comes from the environment.
"""

from __future__ import annotations

import json
import os
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPException, HTTPMessage
from typing import IO, Any
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from allgood.errors import ConfigError, RoleError

KEY_VARIABLE = "ALLGOOD_JUDGE_API_KEY"
_VERDICT = re.compile(r"\W*(?:(?:ANSWER|RESPONSE|VERDICT)\b\W*)?(A|B|TIE)\W*")  # alone: "A" is also a word
_MAX_ANSWER_BYTES = 1 << 20
_QUESTION = """Two assistants answered the same request. Judge one thing only: which answer is more {property}.

[Request]
{prompt}

[Answer A]
{first}

[Answer B]
{second}

Reply with exactly one word: A, B, or TIE."""


@dataclass(frozen=True)
class Duel:
    """Two responses to a prompt, to be compared in one property."""

    property: str
    prompt: str
    response: str
    opponent: str


@dataclass(frozen=True)
class Verdicts:
    """What a judge said. `wins` is 1 for the response, 0 for the opponent, NaN without a readable answer, [duels]."""

    wins: NDArray[np.float64]
    num_failed: int
    share_consistent: float  # duels in which both orders gave the same verdict, of those with two readable answers
    first_failure: str | None


@dataclass(frozen=True)
class HttpJudge:
    """A chat model at `url` (".../v1" or its root), asked at temperature 0."""

    url: str
    model: str
    timeout_s: float = 60.0
    concurrency: int = 4
    attempts: int = 2

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(
                f"evaluate.judge_url is {self.url!r}; give an http or https address such as http://127.0.0.1:8000/v1"
            )
        if parts.username or parts.password:
            raise ConfigError(
                f"evaluate.judge_url holds a user name or password; put a key into {KEY_VARIABLE} instead"
            )

    def compare(self, duels: Sequence[Duel], advance: Callable[[int], None] = lambda count: None) -> Verdicts:
        """Ask about every duel in both orders.

        Raises:
            RoleError: No question of any duel was answered.
        """

        def both(duel: Duel) -> tuple[float | str, float | str]:
            answers = self._ask(duel), self._ask(_swapped(duel))
            advance(1)
            return answers

        with ThreadPoolExecutor(self.concurrency) as pool:
            answers = list(pool.map(both, duels))
        failures = [answer for pair in answers for answer in pair if isinstance(answer, str)]
        if duels and len(failures) == 2 * len(duels):
            raise RoleError(
                f"the judge at {self.url} answered none of {len(failures)} questions; the first: {failures[0]}"
            )
        wins = np.array([_win(forward, swapped) for forward, swapped in answers])
        readable = [(a, b) for a, b in answers if not isinstance(a, str) and not isinstance(b, str)]
        consistent = float(np.mean([a == 1 - b for a, b in readable])) if readable else float("nan")
        return Verdicts(wins, int(np.isnan(wins).sum()), consistent, failures[0] if failures else None)

    def _ask(self, duel: Duel) -> float | str:
        """1 if answer A (the response) wins, 0 if B, 0.5 for a tie; a sentence when there was no readable answer."""
        problem = ""
        for _ in range(self.attempts):
            try:
                text = self._complete(_question(duel))
            except (OSError, HTTPException, ValueError, KeyError, IndexError, TypeError) as error:
                problem = f"{type(error).__name__}: {error}"
                continue
            verdict = _VERDICT.fullmatch(text.upper())
            if verdict:
                return {"A": 1.0, "B": 0.0, "TIE": 0.5}[verdict.group(1)]
            problem = f"the answer {text[:80]!r} names neither A nor B nor TIE"
        return problem

    def _complete(self, question: str) -> str:
        body = {
            "model": self.model,
            "messages": [{"role": "user", "content": question}],
            "temperature": 0,
            "max_tokens": 8,
        }
        request = urllib.request.Request(_endpoint(self.url), json.dumps(body).encode(), _headers())
        with _opener().open(request, timeout=self.timeout_s) as answer:
            content: Any = json.loads(answer.read(_MAX_ANSWER_BYTES))
        text = content["choices"][0]["message"]["content"]
        if not isinstance(text, str):
            raise TypeError(f"the answer's content is {type(text).__name__}, not text")
        return text


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> None:
        return None  # the opener then raises HTTPError with the 3xx code


def _opener() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect())


def _endpoint(url: str) -> str:
    base = url.rstrip("/")
    return f"{base}/chat/completions" if urlsplit(base).path.endswith("/v1") else f"{base}/v1/chat/completions"


def _headers() -> dict[str, str]:
    key = os.environ.get(KEY_VARIABLE)
    headers = {"Content-Type": "application/json"}
    return headers | {"Authorization": f"Bearer {key}"} if key else headers


def _question(duel: Duel) -> str:
    return _QUESTION.format(
        property=duel.property, prompt=duel.prompt.strip(), first=duel.response, second=duel.opponent
    )


def _swapped(duel: Duel) -> Duel:
    return Duel(duel.property, duel.prompt, duel.opponent, duel.response)


def _win(forward: float | str, swapped: float | str) -> float:
    if isinstance(forward, str) or isinstance(swapped, str):
        return float("nan")
    return (forward + 1 - swapped) / 2
