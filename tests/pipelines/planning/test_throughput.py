"""The length of a step: worked by hand, and against a simulation of queues."""

from __future__ import annotations

import heapq
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.planning.throughput import Seconds, experience_seconds, predict, worthwhile_counts

COUNTS = st.integers(1, 6)


def simulated(seconds: Seconds, replicas: Mapping[str, int]) -> float:
    """Events in order of time: whoever is free takes the oldest chunk that waits."""
    free = {role: [0.0] * count for role, count in replicas.items()}

    def served(role: str, arrival: float) -> float:
        start = max(arrival, heapq.heappop(free[role]))
        end = start + seconds.per_chunk[role]
        heapq.heappush(free[role], end)
        return end

    generated = sorted(served("rollout", 0.0) for _ in range(seconds.num_chunks))
    return max(max([served(role, at) for role in seconds.readers], default=at) for at in generated)


def test_a_step_by_hand() -> None:
    # two rollouts: chunks at 2, 2, 4, 4; one reader of 1.5 s: 3.5, 5, 6.5, 8; then 3 and 0.5 s
    seconds = Seconds({"rollout": 2.0, "reward.x": 1.5}, num_chunks=4, update=3.0, publish=0.5)
    found = predict(seconds, {"rollout": 2, "reward.x": 1})
    assert found.seconds == 11.5
    assert found.busy == pytest.approx({"rollout": 4 / 11.5, "reward.x": 6 / 11.5, "learner": 3 / 11.5})
    assert found.steps_per_hour == pytest.approx(3600 / 11.5)


def test_the_slowest_reader_decides() -> None:
    seconds = Seconds({"rollout": 1.0, "fast": 0.1, "slow": 4.0}, num_chunks=3, update=0.0)
    assert experience_seconds(seconds, {"rollout": 1, "fast": 1, "slow": 1}) == 1 + 3 * 4
    assert experience_seconds(seconds, {"rollout": 1, "fast": 1, "slow": 3}) == 3 + 4


@given(
    st.integers(1, 12),
    st.dictionaries(st.sampled_from("abc"), st.tuples(st.floats(0.1, 5), COUNTS), max_size=3),
    st.floats(0.1, 5),
    COUNTS,
)
def test_the_calculation_is_what_queues_do(
    num_chunks: int, readers: dict[str, tuple[float, int]], generation: float, rollouts: int
) -> None:
    per_chunk = {"rollout": generation, **{role: each for role, (each, _) in readers.items()}}
    replicas = {"rollout": rollouts, **{role: count for role, (_, count) in readers.items()}}
    seconds = Seconds(per_chunk, num_chunks, update=0.0)
    assert experience_seconds(seconds, replicas) == pytest.approx(simulated(seconds, replicas))


def simulated_period(seconds: Seconds, replicas: Mapping[str, int], num_steps: int = 60) -> float:
    """Seconds per step in the second half of a run whose steps start when the version n before them is published."""
    free = {role: [0.0] * count for role, count in replicas.items()}
    published = [0.0]  # by version

    def served(role: str, arrival: float) -> float:
        end = max(arrival, heapq.heappop(free[role])) + seconds.per_chunk[role]
        heapq.heappush(free[role], end)
        return end

    for step in range(num_steps):
        start = published[max(0, step - seconds.staleness)]
        generated = sorted(served("rollout", start) for _ in range(seconds.num_chunks))
        ready = max(max([served(role, at) for role in seconds.readers], default=at) for at in generated)
        published.append(max(ready, published[-1]) + seconds.learning)
    return (published[-1] - published[num_steps // 2]) / (num_steps - num_steps // 2)


@pytest.mark.parametrize("staleness", [0, 1, 2, 5])
@pytest.mark.parametrize(("rollouts", "readers"), [(1, 1), (2, 1), (4, 2)])
def test_steps_that_overlap_last_as_long_as_in_a_simulated_run(staleness: int, rollouts: int, readers: int) -> None:
    seconds = Seconds({"rollout": 2.0, "x": 0.5}, num_chunks=8, update=3.0, publish=0.5, staleness=staleness)
    replicas = {"rollout": rollouts, "x": readers}
    assert predict(seconds, replicas).seconds == pytest.approx(simulated_period(seconds, replicas), rel=0.02)


def test_the_learner_is_busy_all_the_time_where_the_rest_keeps_up() -> None:
    seconds = Seconds({"rollout": 1.0}, num_chunks=4, update=4.0, staleness=1)
    assert predict(seconds, {"rollout": 1}).busy == {"rollout": 1.0, "learner": 1.0}


@given(st.integers(1, 200))
def test_every_number_of_rounds_has_its_fewest_replicas(num_chunks: int) -> None:
    counts = list(worthwhile_counts(num_chunks))
    rounds = [-(-num_chunks // count) for count in counts]
    assert rounds == sorted({-(-num_chunks // count) for count in range(1, num_chunks + 1)}, reverse=True)
    assert all(
        -(-num_chunks // (count - 1)) > number for count, number in zip(counts, rounds, strict=True) if count > 1
    )
