"""How many replicas each role should have on a cluster, so that no role starves another.

For a given length of the experience phase it is known who needs how many: as few rollout actors as still generate in
time, and of every reader as few as still keep up with them. So the shortest phase whose replicas fit is searched for.
Learners stay as they are: another number of them gives other bits.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping

from pipelines.planning.throughput import ROLLOUT, Seconds, experience_seconds, worthwhile_counts

Replicas = Mapping[str, int]

_PRECISION = 0.01  # a phase shorter by less than this share is not worth more replicas


def recommend(seconds: Seconds, fits: Callable[[Replicas], bool]) -> dict[str, int] | None:
    """The replicas of rollout actors and readers with the shortest step that fit; None where one of each does not.

    Args:
        seconds: What a step is made of.
        fits: Whether a cluster holds so many; asked at most a few hundred times.
    """
    best = dict.fromkeys(seconds.per_chunk, 1)
    if not fits(best):
        return None
    longest = experience_seconds(seconds, best)
    shortest = experience_seconds(seconds, dict.fromkeys(seconds.per_chunk, seconds.num_chunks))
    if seconds.staleness:  # the phase runs alongside learning, and need not be shorter
        shortest = max(shortest, seconds.learning)
    while longest - shortest > _PRECISION * longest:
        middle = (longest + shortest) / 2
        found = next((replicas for replicas in _in_time(seconds, middle) if fits(replicas)), None)
        if found is None:
            shortest = middle
        else:
            best, longest = found, experience_seconds(seconds, found)
    return best


def _in_time(seconds: Seconds, limit: float) -> list[dict[str, int]]:
    """Replicas with which the experience is there in time, fewest first: one choice per number of rollout actors."""
    found = []
    for rollouts in worthwhile_counts(seconds.num_chunks):
        readers = {role: _fewest(seconds, role, rollouts, limit) for role in seconds.readers}
        if seconds.per_chunk[ROLLOUT] * -(-seconds.num_chunks // rollouts) <= limit and None not in readers.values():
            found.append({role: rollouts if role == ROLLOUT else readers[role] or 0 for role in seconds.per_chunk})
    return sorted(found, key=lambda replicas: sum(replicas.values()))


def _fewest(seconds: Seconds, role: str, rollouts: int, limit: float) -> int | None:
    """The fewest replicas of a reader that keep up with so many rollout actors; None where none do."""
    chain = Seconds({ROLLOUT: seconds.per_chunk[ROLLOUT], role: seconds.per_chunk[role]}, seconds.num_chunks, update=0)
    counts = range(1, seconds.num_chunks + 1)
    index = bisect_left(
        counts, True, key=lambda count: experience_seconds(chain, {ROLLOUT: rollouts, role: count}) <= limit
    )
    return counts[index] if index < len(counts) else None
