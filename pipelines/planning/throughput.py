"""How long a step takes, from seconds per chunk and numbers of replicas: a calculation, exact for its assumptions.

A step asks for C chunks at once. R rollout actors need g seconds each for one, and free actors take chunks in order, so
chunk i is generated at a_i = g (floor(i / R) + 1). Each scorer, and the reference policy, takes chunks as they come:
with n replicas and s seconds it is done with chunk i at e_i = max(a_i, e_{i-n}) + s. The experience is there when the
slowest of them has its last chunk, after E seconds. The learners update and weights are published in U seconds more.

With `staleness: 0` a step lasts E + U. With v it uses weights that are v versions old, so v + 1 steps are under way at
once: it lasts (E + U) / (v + 1), but no less than U, nor than the work of any replica in a step.

Assumed: chunks of a role take equally long, replicas do not slow each other down, and handing over takes no time.
Uneven chunks and processes that share cores make a step longer than this; seconds that were measured on the same nodes
have the latter in.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

ROLLOUT, LEARNER = "rollout", "learner"


@dataclass(frozen=True)
class Seconds:
    """What a step is made of.

    Attributes:
        per_chunk: By role, seconds of one replica for one chunk: `rollout` and every role that reads rollouts.
        num_chunks: C, of one step.
        update: Seconds of the learners' update.
        publish: Seconds until all rollout actors have the new weights.
        staleness: v, versions that the weights of rollouts are behind.
    """

    per_chunk: Mapping[str, float]
    num_chunks: int
    update: float
    publish: float = 0.0
    staleness: int = 0

    @property
    def learning(self) -> float:
        """U: seconds of update and publication."""
        return self.update + self.publish

    @property
    def readers(self) -> list[str]:
        """The roles that take rollouts: scorers and the reference policy."""
        return [role for role in self.per_chunk if role != ROLLOUT]


@dataclass(frozen=True)
class Prediction:
    """A step with some numbers of replicas. `busy` is by role the share of the step that one replica works."""

    seconds: float
    busy: Mapping[str, float]

    @property
    def steps_per_hour(self) -> float:
        """Steps per hour, without evaluations and checkpoints."""
        return 3600.0 / self.seconds


def predict(seconds: Seconds, replicas: Mapping[str, int]) -> Prediction:
    """The step with these replicas by role.

    >>> seconds = Seconds({"rollout": 2.0, "reward.x": 1.0}, num_chunks=4, update=2.0)
    >>> predict(seconds, {"rollout": 2, "reward.x": 1})
    Prediction(seconds=8.0, busy={'rollout': 0.5, 'reward.x': 0.5, 'learner': 0.25})
    """
    work = {role: seconds.num_chunks * each / replicas[role] for role, each in seconds.per_chunk.items()}
    passing = (experience_seconds(seconds, replicas) + seconds.learning) / (seconds.staleness + 1)
    whole = max(passing, seconds.learning, *work.values())
    return Prediction(whole, {role: each / whole for role, each in {**work, LEARNER: seconds.update}.items()})


def experience_seconds(seconds: Seconds, replicas: Mapping[str, int]) -> float:
    """Seconds until every chunk is generated and read by everybody."""
    generated = _generated(seconds, replicas[ROLLOUT])
    ends = [_last_read(generated, seconds.per_chunk[role], replicas[role]) for role in seconds.readers]
    return max([generated[-1], *ends])


def worthwhile_counts(num_chunks: int) -> Iterator[int]:
    """The numbers of replicas that differ in their rounds, ceil(chunks / replicas), ascending.

    >>> list(worthwhile_counts(8))
    [1, 2, 3, 4, 8]
    """
    count = 1
    while True:
        yield count
        rounds = -(-num_chunks // count)
        if rounds == 1:
            return
        count = -(-num_chunks // (rounds - 1))


def _generated(seconds: Seconds, num_rollouts: int) -> list[float]:
    each = seconds.per_chunk[ROLLOUT]
    return [each * (index // num_rollouts + 1) for index in range(seconds.num_chunks)]


def _last_read(arrivals: list[float], each: float, num_replicas: int) -> float:
    ends: list[float] = []
    for index, arrival in enumerate(arrivals):
        free = ends[index - num_replicas] if index >= num_replicas else 0.0
        ends.append(max(arrival, free) + each)
    return ends[-1]
