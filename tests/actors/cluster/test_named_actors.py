"""Frozen actors found by name: the same ones, back after a death, gone with whoever made them."""

from __future__ import annotations

import os
import signal

import pytest
import ray
from ray.util.placement_group import placement_group, remove_placement_group

from actors.cluster.cast import CastRequest, Part, spawn, spawn_in_group
from actors.cluster.named_actors import attach, names_of
from actors.cluster.placement import Resources
from actors.reward import RewardSpec
from allgood.errors import RoleError
from allgood.scorers.spec import FunctionSpec

SMALL = Resources(cpus=0.1)


def request() -> CastRequest:
    spec = RewardSpec("short", FunctionSpec("tests.actors.functions:shortness"))
    return CastRequest(rewards={"short": Part(spec, SMALL)}, timeout_s=600)


def pid_of(handle: object) -> int:
    pid: int = ray.get(handle.location.remote())["pid"]  # type: ignore[attr-defined]
    return pid


@pytest.mark.usefixtures("ray_cluster")
def test_named_actors_are_found_come_back_after_a_death_and_go_with_their_cast() -> None:
    with spawn(request(), name="frozen") as cast:
        names = names_of(cast, "frozen")
        found = attach(names)
        assert found.scorers == ["short"]
        assert [list(found.handles(role)) for role in ("rollout", "learner", "reference_policy")] == [[], [], []]
        [own], [theirs] = cast.handles("reward.short"), found.handles("reward.short")
        assert pid_of(own) == pid_of(theirs)
        assert found.who("reward.short") == cast.who("reward.short")
        dead = pid_of(own)
        os.kill(dead, signal.SIGKILL)
        found.restart("reward.short")
        assert pid_of(theirs) == pid_of(own) != dead
        cast.restart("reward.short")  # by its owner: under the same name, but with another handle
        [anew] = found.handles("reward.short")
        assert pid_of(anew) == pid_of(cast.handles("reward.short")[0])
    with pytest.raises(RoleError, match=r"no actor 'frozen\.reward\.short\.0'"):
        attach(names)


@pytest.mark.usefixtures("ray_cluster")
def test_a_cast_in_a_given_group_leaves_the_group_to_its_owner() -> None:
    group = placement_group([{"CPU": 0.1}, {"CPU": 0.1}])
    assert group.wait(60)
    with spawn_in_group(request(), group, first_bundle=1) as cast:
        assert pid_of(cast.handles("reward.short")[0]) != os.getpid()
    assert ray.util.placement_group_table(group)["state"] == "CREATED"
    remove_placement_group(group)
