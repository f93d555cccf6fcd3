"""What a replica that starts anew has to hear before it is like the one before it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import ray

from actors.cluster.admission import living_node_ids
from actors.cluster.recipe import Recipe
from actors.cluster.seats import Seat
from actors.cluster.supervision import Who, ask_blocking, wait_for
from allgood.errors import RoleError

_POLL_S = 0.1
_NAME_S = 30.0
_LOOK_S = 1.0  # between two looks at the nodes


def first_answer(answer: ray.ObjectRef[Any], seat: Seat, *, timeout_s: float) -> Any:
    """The first answer of an actor that was just started, which Ray would await for ever on a node that is gone.

    Raises:
        AllgoodError: It did not start in time, or what its constructor raised.
        RoleError: Its node was lost.
    """
    deadline = time.monotonic() + timeout_s
    while not ray.wait([answer], timeout=max(0.0, min(_LOOK_S, deadline - time.monotonic())))[0]:
        if time.monotonic() > deadline:
            break
        if seat.assignment.node_id not in living_node_ids():
            raise RoleError(f"{seat.who} could not start: its node was lost")
    return wait_for(answer, who=seat.who, phase="start", deadline_s=max(0.01, deadline - time.monotonic()))


def instruct(actor: Any, recipe: Recipe, who: Who, *, deadline_s: float) -> None:
    """Tell a fresh actor everything that its role was told.

    Raises:
        RoleError: It died again, did not answer, or what it is told of is lost.
    """
    for method, argument, phase in recipe.instructions(actor):
        ask_blocking(method, argument, who=who, phase=phase, deadline_s=deadline_s)


def end_for_restart(actor: Any, who: Who, *, timeout_s: float) -> None:
    """End an actor that Ray starts anew, and wait until Ray knows of it: what answers afterwards is the new process.

    Raises:
        RoleError: It does not end.
    """
    before, deadline = _num_restarts(actor), time.monotonic() + timeout_s
    ray.kill(actor, no_restart=False)
    while _num_restarts(actor) == before and not _is_dead(actor):
        if time.monotonic() > deadline:
            raise RoleError(f"{who} does not end: Ray could not kill it within {timeout_s:g} s; look at its node")
        time.sleep(_POLL_S)


def end_for_good(actor: Any, seat: Seat) -> None:
    """End an actor that another one is to replace in its seat, also under its name.

    Raises:
        RoleError: Ray does not give its name back.
    """
    ray.kill(actor)
    deadline = time.monotonic() + _NAME_S
    while seat.name is not None and not _is_dead(actor):
        if time.monotonic() > deadline:
            raise RoleError(f"{seat.who} does not end: Ray has not given its name back within {_NAME_S:g} s")
        time.sleep(_POLL_S)


def address_of(actor: Any) -> str:
    """The address of an actor's node."""
    return str(_state(actor)["Address"]["IPAddress"])


def _num_restarts(actor: Any) -> int:
    return int(_state(actor)["NumRestarts"])


def _is_dead(actor: Any) -> bool:
    return bool(_state(actor).get("State", "DEAD") == "DEAD")  # Ray forgets the dead at some time


def _state(actor: Any) -> dict[str, Any]:
    # Ray's public state API asks the dashboard, which need not be there.
    state: dict[str, Any] = ray._private.state.actors(actor._actor_id.hex())
    return state


def answer_after_restart(find: Callable[[], Any], who: Who, *, timeout_s: float) -> tuple[Any, dict[str, Any]]:
    """Wait until a dead actor is there again; its handle, and what it says about its place.

    `find` gives the handle anew for each try: whoever has its name may be another actor than before, on another node.

    Raises:
        RoleError: It did not come back in time.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        actor = find()
        try:
            return actor, ask_blocking(
                actor.location, who=who, phase="restart", deadline_s=max(0.01, deadline - time.monotonic())
            )
        except RoleError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_POLL_S)  # a call while Ray starts it anew raises at once
