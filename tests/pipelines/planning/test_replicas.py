"""Recommended replicas: as fast as any that fit, and no more than that needs."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.planning.replicas import Replicas, recommend
from pipelines.planning.throughput import Seconds, experience_seconds, predict

PAIR = Seconds({"rollout": 2.0, "reward.x": 1.0}, num_chunks=8, update=4.0)


def test_readers_keep_up_with_as_many_rollouts_as_there_is_room_for() -> None:
    # 4 rollouts make 4 chunks every 2 s, which 2 readers have read 2 s later: 2 + 2 + 2 = 6 s
    assert recommend(PAIR, lambda replicas: sum(replicas.values()) <= 6) == {"rollout": 4, "reward.x": 2}
    assert predict(PAIR, {"rollout": 4, "reward.x": 2}).seconds == 6 + 4


def test_no_more_replicas_than_chunks_have_use_for() -> None:
    assert recommend(PAIR, lambda replicas: True) == {"rollout": 8, "reward.x": 8}


def test_a_fast_reader_stays_alone() -> None:
    fast = Seconds({"rollout": 2.0, "reward.x": 0.001}, num_chunks=8, update=0.0)
    found = recommend(fast, lambda replicas: replicas["rollout"] <= 4)
    assert found == {"rollout": 4, "reward.x": 1}


def test_beside_learning_there_are_no_more_replicas_than_keep_the_learner_busy() -> None:
    overlapping = Seconds({"rollout": 1.0, "reward.x": 0.1}, num_chunks=8, update=5.0, staleness=1)
    found = recommend(overlapping, lambda replicas: True)
    assert found == {"rollout": 2, "reward.x": 1}  # 4 s of generation alongside 5 s of learning
    assert predict(overlapping, found).seconds == 5.0


def test_where_one_of_each_has_no_room_nothing_is_recommended() -> None:
    assert recommend(PAIR, lambda replicas: False) is None


@settings(max_examples=40)
@given(
    st.integers(1, 6),
    st.tuples(st.floats(0.2, 3), st.floats(0.2, 3), st.floats(0.2, 3)),
    st.tuples(st.integers(1, 6), st.integers(1, 6), st.integers(1, 6)),
    st.integers(3, 12),
)
def test_nothing_that_fits_is_faster_by_more_than_the_precision(
    num_chunks: int, each: tuple[float, float, float], most: tuple[int, int, int], total: int
) -> None:
    roles = ("rollout", "a", "b")
    seconds = Seconds(dict(zip(roles, each, strict=True)), num_chunks, update=0.0)
    limits = dict(zip(roles, most, strict=True))

    def fits(replicas: Replicas) -> bool:
        return sum(replicas.values()) <= total and all(replicas[role] <= limits[role] for role in roles)

    found = recommend(seconds, fits)
    assert found is not None
    assert fits(found)
    choices = [dict(zip(roles, counts, strict=True)) for counts in product(range(1, num_chunks + 1), repeat=3)]
    best = min(experience_seconds(seconds, choice) for choice in choices if fits(choice))
    assert experience_seconds(seconds, found) <= best * 1.03
    assert experience_seconds(seconds, found) == pytest.approx(predict(seconds, found).seconds)
