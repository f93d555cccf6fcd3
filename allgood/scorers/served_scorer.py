"""The rewards of `allgood serve` behind the interface of `AllGoodScorer`: the same numbers, with the models elsewhere.

    scorer = ServedScorer.at("http://127.0.0.1:8000")
    scores = scorer.score(prompts, responses)    # as AllGoodScorer.score

Nothing is loaded here. What a service answers about its objective (transforms, whether it needs to know what was cut)
is asked once, when the scorer is made.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from allgood.all_good import Judged
from allgood.errors import ConfigError, RoleError
from allgood.scorers.all_good_scores import AllGoodScores
from allgood.scorers.http_client import BadBatchError, HttpClient, NoAnswerError
from allgood.scorers.policy_texts import Text
from allgood.scorers.rewards_spec import ReferenceFrom
from allgood.scorers.spec import Server
from allgood.scorers.wire import ScoreAnswer, ScoredRow
from allgood.views import FloatArray, GoodFrom, PropertyView

_ROWS = 256  # of one request


class ServedScorer:
    """One objective of a service. It pickles as its address; calls from several threads are safe.

    Args:
        server: `url` without a path; `token_env` names the variable of the environment that holds the token.
        objective: Its name; absent: the first one served.

    Raises:
        ConfigError: The address is none, the token is missing, or there is no such objective.
        RoleError: The service does not answer, or is no `allgood serve`.
    """

    def __init__(self, server: Server, *, objective: str | None = None) -> None:
        self.__setstate__((server, objective))

    @staticmethod
    def at(url: str, *, token_env: str | None = None) -> ServedScorer:
        """The first objective of the service at `url`; errors as above."""
        return ServedScorer(Server(url, token_env=token_env, batch_size=_ROWS))

    def score(
        self, prompts: Sequence[Text], responses: Sequence[Text], *, was_cut: NDArray[np.bool_] | None = None
    ) -> AllGoodScores:
        """See `AllGoodScorer.score`; the share in tables is the mean over the requests that the rows need.

        Raises:
            ValueError: Numbers of rows differ.
            RoleError: The service refuses the rows, or gave no answer in time.
        """
        if len(prompts) != len(responses):
            raise ValueError(f"there are {len(prompts)} prompts, but {len(responses)} responses")
        rows = [
            {"prompt": prompt, "response": response} | ({} if was_cut is None else {"was_cut": bool(was_cut[index])})
            for index, (prompt, response) in enumerate(zip(prompts, responses, strict=True))
        ]
        size = self._server.batch_size
        answers = [self._asked(rows[start : start + size]) for start in range(0, len(rows), size)]
        shares = [answer["share_in_table"] for answer in answers if answer["share_in_table"] is not None]
        return self._scores([row for answer in answers for row in answer["rows"]], shares)

    async def score_async(
        self, prompts: Sequence[Text], responses: Sequence[Text], *, was_cut: NDArray[np.bool_] | None = None
    ) -> AllGoodScores:
        """`score` in a thread of its own, while the event loop goes on."""
        return await asyncio.to_thread(self.score, prompts, responses, was_cut=was_cut)

    @property
    def transforms(self) -> tuple[str, ...]:
        """Names of the properties' transforms."""
        return tuple(str(setting["transform"]) for setting in self._properties.values())

    def __getstate__(self) -> tuple[Server, str | None]:
        return self._server, self._objective

    def __setstate__(self, state: tuple[Server, str | None]) -> None:
        self._server, self._objective = state
        base = self._server.url.rstrip("/")
        self._client = HttpClient(replace(self._server, url=f"{base}/v1/score"))
        described = _described(HttpClient(replace(self._server, url=f"{base}/v1/objectives")), self._objective)
        self.needs_was_cut = bool(described["needs_was_cut"])
        self._says_p_all_good = bool(described["says_p_all_good"])
        self._properties: Mapping[str, Mapping[str, Any]] = described["properties"]

    def _asked(self, rows: list[dict[str, Any]]) -> ScoreAnswer:
        named = {} if self._objective is None else {"objective": self._objective}
        try:
            return cast(ScoreAnswer, self._client.post({"rows": rows, **named}))
        except (BadBatchError, NoAnswerError) as error:
            raise RoleError(f"the service gave no rewards: {error}") from error

    def _scores(self, rows: Sequence[ScoredRow], shares: Sequence[float]) -> AllGoodScores:
        with np.errstate(divide="ignore"):  # a probability below the smallest number
            log_p = np.log(_column([row["p_all_good"] for row in rows])) if self._says_p_all_good else None
        judged = Judged(
            {name: self._view(name, rows) for name in self._properties},
            _column([row["utility"] for row in rows]),
            log_p,
        )
        return AllGoodScores(
            judged=judged,
            prompt_ids=tuple(row["prompt_id"] for row in rows),
            reference_from={
                name: tuple(cast(ReferenceFrom, row["properties"][name]["reference_from"]) for row in rows)
                for name in self._properties
            },
            reasons=tuple(row["reason"] for row in rows),
            share_in_table=float(np.mean(shares)) if shares else None,
        )

    def _view(self, name: str, rows: Sequence[ScoredRow]) -> PropertyView:
        parts = [row["properties"][name] for row in rows]
        return PropertyView(
            _column([part["reward"] for part in parts]),
            _column([part["reference"] for part in parts]),
            _column([part["margin"] for part in parts]),
            _column([part["utility"] for part in parts]),
            cast(GoodFrom, self._properties[name]["good_from"]),
        )


def _described(client: HttpClient, name: str | None) -> Mapping[str, Any]:
    try:
        answer = client.get()
        objectives: list[Mapping[str, Any]] = answer["objectives"]
    except (BadBatchError, NoAnswerError, KeyError, TypeError) as error:
        raise RoleError(f"there is no `allgood serve` at that address: {error}") from error
    for objective in objectives:
        if name in (None, objective["name"]):
            return objective
    raise ConfigError(f"the service has no objective {name!r}; it has {', '.join(str(o['name']) for o in objectives)}")


def _column(values: Sequence[float | None]) -> FloatArray:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float32)
