"""Actors of a named cast whose node is gone: they start elsewhere under their names, or are given up with a reason.

The node that is gone never was: the cast is made to believe that its actors run there. `tests/hosts` has real ones.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from actors.cluster.cast import Cast, CastRequest, Part, spawn
from actors.cluster.guard import guarded
from actors.cluster.named_actors import attach, names_of
from actors.cluster.placement import Resources
from actors.cluster.recovery import Loss
from actors.reward import RewardSpec
from allgood.errors import RoleError
from allgood.scorers.spec import FunctionSpec
from tests.actors.cluster.test_named_actors import pid_of

pytestmark = [pytest.mark.faults, pytest.mark.usefixtures("ray_cluster")]

GONE = "0" * 56
ROLE = "reward.short"
LIMIT_S = 120.0


def lose_node(cast: Cast, needs: Resources) -> None:
    """Have the cast's only actor on a node that is gone, and want `needs` of another."""
    seat = cast._seats[ROLE, 0]
    there = replace(seat.assignment, node_id=GONE, node="10.0.0.9", needs=needs)
    cast._seats._seats[ROLE, 0] = replace(seat, assignment=there)
    cast._places[ROLE, 0]["node_id"] = GONE


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_an_actor_of_a_lost_node_starts_elsewhere_under_its_name_and_without_a_place_it_is_given_up() -> None:
    small = Resources(cpus=0.1)
    request = CastRequest(
        rewards={"short": Part(RewardSpec("short", FunctionSpec("tests.actors.functions:shortness")), small)},
        timeout_s=300,
    )
    told: list[str] = []
    with spawn(request, name="guarded", tell=told.append) as cast, guarded(cast) as guard:
        [before] = cast.handles(ROLE)
        pid, node = pid_of(before), cast.who(ROLE).node
        trial = attach(names_of(cast, "guarded"))
        lose_node(cast, small)
        wait_until(lambda: cast.handles(ROLE) != (before,))
        guard.check()
        assert told == [f"the cluster has lost 10.0.0.9 with {ROLE} 0: {ROLE} 0 goes to {node}"]
        assert trial.restart(ROLE, 0, Loss(before, is_hung=False))
        assert [pid_of(actor) for actor in trial.handles(ROLE)] == [pid_of(cast.handles(ROLE)[0])] != [pid]
        assert trial.who(ROLE) == cast.who(ROLE)
        assert attach(names_of(cast, "guarded")).place(ROLE)["pid"] != pid

        lose_node(cast, Resources(cpus=0.1, labels={"zone": "nowhere"}))
        wait_until(lambda: guard._error is not None)
        with pytest.raises(RoleError, match=r"lost 10\.0\.0\.9 with reward\.short 0, and has no place left"):
            guard.check()
        began = time.monotonic()
        with pytest.raises(RoleError, match=r"no actor 'guarded\.reward\.short\.0'; .* or has no place for it"):
            trial.restart(ROLE, 0, Loss(trial.handles(ROLE)[0], is_hung=False))
        assert time.monotonic() - began < 60
