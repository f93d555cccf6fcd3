"""How long an answer of an actor may take, and how much is done about one that does not come. Needs no Ray."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """`deadline_s` bounds one answer, `max_retries` one call's further tries, `max_restarts` those of a role."""

    deadline_s: float
    max_retries: int = 5
    max_restarts: int = 20
