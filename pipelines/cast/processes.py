"""What the processes of a run compute with: threads, and kind of GPU or processor.

Equal ones give equal bits. A checkpoint keeps what its run had until then; where a role has something else afterwards,
after a resume or because an actor started anew elsewhere, that is said, as the promise of equal bits ends there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from actors.cluster.pool import Actors
from actors.cluster.supervision import LEARNER
from actors.location import computes_otherwise
from pipelines.output.progress import say

Kinds = Mapping[str, Sequence[Mapping[str, Any]]]

_KEYS = ("threads", "gpu", "cpu")


class Processes:
    """The processes of one run. `before` is what they computed with until now, as its checkpoint has it."""

    def __init__(self, actors: Actors, roles: Sequence[str], before: Kinds) -> None:
        self._actors, self._roles = actors, roles
        self._before = before

    def look(self) -> Kinds:
        """What they compute with now; says what has changed since the last look."""
        now = kinds_of(self._actors, self._roles)
        for sentence in changes(self._before, now):
            say(sentence)
        self._before = now
        return now


def kinds_of(actors: Actors, roles: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """By role, what its replicas compute with: of learners one entry per rank, of other roles every kind once."""
    found: dict[str, list[dict[str, Any]]] = {}
    for role in roles:
        places = [actors.place(role, replica) for replica in range(len(actors.handles(role)))]
        kinds = [{key: place[key] for key in _KEYS} for place in places]
        found[role] = kinds if role == LEARNER else [kind for i, kind in enumerate(kinds) if kind not in kinds[:i]]
    return found


def changes(before: Kinds, now: Kinds) -> list[str]:
    """A sentence per role that computes otherwise than before; none for roles of which nothing is known."""
    found = [(role, _change(role, before[role], now[role])) for role in now if before.get(role)]
    return [
        f"{role} computes with {what}: from here on results may differ in their last bits from those of an undisturbed "
        "run"
        for role, what in found
        if what is not None
    ]


def threads_in(kinds: Kinds) -> dict[str, int]:
    """The threads of each role, where all of its replicas had the same number."""
    counts = {role: {kind["threads"] for kind in of_role} for role, of_role in kinds.items()}
    return {role: next(iter(numbers)) for role, numbers in counts.items() if len(numbers) == 1}


def _change(role: str, before: Sequence[Mapping[str, Any]], now: Sequence[Mapping[str, Any]]) -> str | None:
    if role == LEARNER and len(before) != len(now):
        return f"{_number(before)} before, {_number(now)} now"
    for rank, kind in enumerate(now):
        known = before[rank : rank + 1] if role == LEARNER else before
        differences = [computes_otherwise(other, kind) for other in known]
        if None not in differences:
            return differences[0]
    return None


def _number(processes: Sequence[object]) -> str:
    return f"{len(processes)} process{'es' * (len(processes) > 1)}"
