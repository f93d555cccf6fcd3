"""What a seed kills: enough of every role, idle and busy, and never two before the first was seen."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from experiments.chaos.kills import DRIVER, LAST_STEP, LEAST_PER_ROLE, NUM_KILLS, draw_kills, family_of

REPLICAS = {"rollout": 2, "reward.short": 1, "reward.vowels": 1, "reference_policy": 1, "learner": 1}


@given(st.integers(0, 10_000))
def test_every_role_dies_often_enough_idle_and_busy(seed: int) -> None:
    kills = draw_kills(seed, REPLICAS)
    assert len(kills) == NUM_KILLS
    deaths = Counter(family_of(kill.role) for kill in kills)
    assert set(deaths) == {"rollout", "reward", "reference_policy", "learner", DRIVER}
    assert min(deaths.values()) >= LEAST_PER_ROLE
    for family in set(deaths) - {DRIVER}:
        assert {kill.when for kill in kills if family_of(kill.role) == family} == {"idle", "busy"}
    assert all(0 <= kill.replica < REPLICAS.get(kill.role, 1) for kill in kills)


@given(st.integers(0, 10_000))
def test_a_step_lies_between_two_kills_and_some_after_the_last(seed: int) -> None:
    steps = [kill.step for kill in draw_kills(seed, REPLICAS)]
    assert all(later - earlier >= 2 for earlier, later in pairwise(steps))
    assert steps[0] >= 1
    assert steps[-1] <= LAST_STEP


def test_a_seed_repeats_and_another_one_kills_others() -> None:
    assert draw_kills(3, REPLICAS) == draw_kills(3, REPLICAS) != draw_kills(4, REPLICAS)
