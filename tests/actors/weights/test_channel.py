"""A broadcast arrives bit by bit; a member that dies, hangs or stays away is an error within the deadline."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import ray
import torch

from actors.messages import Weights
from actors.weights.channel import Channel
from actors.weights.layout import WeightLayout, layout_of
from allgood.errors import RoleError
from tests.actors import tiny_models
from tests.actors.snapshots import snapshot
from tests.actors.weights.members import Member


def version(dtype: torch.dtype) -> Weights:
    weights = snapshot(tiny_models.policy(seed=4), policy_version=7, dtype=dtype)
    return Weights(7, weights.arrays, weights.dtypes, "0123456789abcdef" * 2)


def layout(dtype: torch.dtype) -> WeightLayout:
    return layout_of(dict(tiny_models.policy().named_parameters()), dtype, part_bytes=10_000)


@pytest.fixture(scope="module")
def members(ray_cluster: None) -> list[Any]:
    made = [ray.remote(Member).options(num_cpus=0.1).remote() for _ in range(3)]
    ray.get([member.is_open.remote() for member in made], timeout=120)
    return made


def meet(members: Sequence[Any], timeout_s: float = 30.0) -> list[int]:
    address = ray.get(members[0].open.remote())
    joins = [member.join.remote(rank, len(members), address, timeout_s) for rank, member in enumerate(members)]
    return ray.get(joins, timeout=60)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_every_receiver_gets_every_bit_and_the_same_group_serves_the_next_version(
    members: list[Any], dtype: torch.dtype
) -> None:
    meet(members)
    expected = version(dtype)
    for _ in range(2):
        sent = members[0].send.remote(expected)
        for received in ray.get([member.receive.remote(layout(dtype)) for member in members[1:]], timeout=60):
            assert (received.policy_version, received.training) == (7, expected.training)
            assert received.dtypes == expected.dtypes
            for name, array in expected.arrays.items():
                np.testing.assert_array_equal(received.arrays[name], array)
        ray.get(sent)


def test_who_hangs_is_found_within_the_deadline_and_the_others_may_meet_again(members: list[Any]) -> None:
    meet(members, timeout_s=0.5)
    asleep = members[2].sleep.remote(3.0)
    started = time.monotonic()
    members[0].send.remote(version(torch.float32))
    with pytest.raises(RoleError, match="take part in the broadcast"):
        ray.get(members[1].receive.remote(layout(torch.float32)), timeout=60)
    assert time.monotonic() - started < 2.5
    assert ray.get([member.is_open.remote() for member in members[:2]]) == [False, False]
    meet(members[:2])
    members[0].send.remote(version(torch.float32))
    assert ray.get(members[1].receive.remote(layout(torch.float32)), timeout=60).policy_version == 7
    ray.get(asleep)


def test_who_stays_away_from_the_meeting_is_an_error(members: list[Any]) -> None:
    address = ray.get(members[0].open.remote())
    with pytest.raises(RoleError, match="could not meet the other 1 members"):
        ray.get(members[0].join.remote(0, 2, address, 0.5), timeout=60)


def test_a_member_that_has_not_met_the_others_refuses() -> None:
    with pytest.raises(RoleError, match="must meet first"):
        Channel().broadcast_(torch.zeros(1))
