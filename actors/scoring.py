"""Rewards from a scorer that may fail: tried again, then in halves, until only the responses that it minds are left.

A scorer fails when it raises, or answers with another number of rewards than it was asked for. What is left without a
reward is NaN with its reason, and never a number. A scorer that says itself that it will never answer (a refused token,
an address that nobody knows) is believed at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from actors.messages import Retry
from allgood.errors import AllgoodError, ScoringError
from allgood.scorers.scorer import Scored, Scorer, joined

PAUSES_S = (0.5, 1.0)  # before the second and the third try of the whole


@dataclass(frozen=True)
class Attempt:
    """What could be scored. `num_given_up` rows failed also alone; `retries` is empty where nothing failed."""

    scored: Scored
    num_given_up: int = 0
    retries: tuple[Retry, ...] = ()


class _FailureError(Exception):
    """A scorer failed on these rows; the message says how."""


def score_what_can_be(
    scorer: Scorer, prompts: Sequence[str], responses: Sequence[str], *, sleep: Callable[[float], None] = time.sleep
) -> Attempt:
    """Rewards of responses to prompts, row by row; NaN with a reason where the scorer fails whatever is tried.

    Raises:
        AllgoodError: The scorer says that it will never answer.
    """
    began, reason = time.monotonic(), ""
    for pause_s in (0.0, *PAUSES_S):
        if pause_s:
            sleep(pause_s)
        try:
            scored = _whole(scorer, prompts, responses)
        except _FailureError as failure:
            reason = reason or str(failure)
        else:
            return Attempt(scored, retries=_retries(reason, began))
    attempt = _in_halves(scorer, prompts, responses, reason)
    return Attempt(attempt.scored, attempt.num_given_up, _retries(reason, began))


def _retries(reason: str, began: float) -> tuple[Retry, ...]:
    return (Retry(reason, time.monotonic() - began),) if reason else ()


def _whole(scorer: Scorer, prompts: Sequence[str], responses: Sequence[str]) -> Scored:
    try:
        scored = scorer.score(prompts, responses)
    except ScoringError as error:
        raise _FailureError(str(error)) from None
    except AllgoodError:
        raise
    except Exception as error:  # whatever a model or its library raises; the row is given up, not the run
        raise _FailureError(f"{type(error).__name__}: {_first_line(error)}") from None
    if scored.rewards.shape != (len(responses),):
        raise _FailureError(f"the scorer gave rewards of shape {scored.rewards.shape} for {len(responses)} responses")
    return scored


def _in_halves(scorer: Scorer, prompts: Sequence[str], responses: Sequence[str], reason: str) -> Attempt:
    """The rewards of rows that failed together, for `reason`."""
    if len(responses) == 1:
        return Attempt(Scored(np.full(1, np.nan, dtype=np.float32), reasons={0: reason}), num_given_up=1)
    middle = len(responses) // 2
    first, second = (
        _half(scorer, prompts[part], responses[part]) for part in (slice(None, middle), slice(middle, None))
    )
    return Attempt(joined([first.scored, second.scored]), first.num_given_up + second.num_given_up)


def _half(scorer: Scorer, prompts: Sequence[str], responses: Sequence[str]) -> Attempt:
    try:
        return Attempt(_whole(scorer, prompts, responses))
    except _FailureError as failure:
        reason = str(failure)
    return _in_halves(scorer, prompts, responses, reason)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or "no reason given").splitlines()[0]
