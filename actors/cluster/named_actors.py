"""Frozen actors that several processes use: found by name, so that a sweep needs memory for one set of them.

Whoever spawned them owns them: they go when that process goes, however it ends.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import ray

from actors.cluster.cast import Cast
from actors.cluster.recipe import Recipe
from actors.cluster.recovery import Loss
from actors.cluster.seats import actor_name
from actors.cluster.starting import address_of, answer_after_restart, end_for_restart, instruct
from actors.cluster.supervision import ActorNames, Who
from allgood.errors import RoleError

_NOTICE_S = 120.0  # until Ray takes a node for lost, and longer
_NAMELESS_S = 10.0  # while an actor goes elsewhere its name is nobody's for a moment
_POLL_S = 0.1


class NamedActors:
    """The actors of somebody else's cast. It has no rollout actors and no learners: those hold changing weights.

    One that dies comes back under its name: Ray starts it anew, or, where its node is gone, its owner does (`guard`).
    """

    def __init__(self, names: ActorNames) -> None:
        self._names = names
        self._recipes: dict[str, Recipe] = {}
        self._members = {(who.role, who.replica): who for who in names.members}
        self._actors = {key: _handle(names, who) for key, who in self._members.items()}
        self._places: dict[tuple[str, int], Mapping[str, Any]] = {}

    @property
    def scorers(self) -> list[str]:
        """Properties that have reward actors, in the order of the cast."""
        roles = dict.fromkeys(who.role for who in self._names.members)
        return [role.removeprefix("reward.") for role in roles if role.startswith("reward.")]

    def handles(self, role: str) -> Sequence[Any]:
        """The replicas of a role as they are known now; empty for a role that is not there."""
        return [actor for (known, _), actor in self._actors.items() if known == role]

    def who(self, role: str, replica: int = 0) -> Who:
        """The name of an actor for messages."""
        return self._members[role, replica]

    def place(self, role: str, replica: int = 0) -> Mapping[str, Any]:
        """What an actor has said about where it runs; it is asked the first time.

        Raises:
            RoleError: It does not answer.
        """
        if (role, replica) not in self._places:
            self._meet(role, replica)
        return self._places[role, replica]

    def change_recipe(self, role: str, change: Callable[[Recipe], Recipe]) -> None:
        """Note what this process tells the replicas of a role."""
        self._recipes[role] = change(self._recipes.get(role, Recipe()))

    def restart(self, role: str, replica: int = 0, loss: Loss | None = None) -> bool:
        """Wait until a dead replica is there again, and tell it again what this process has told the role.

        A replica that hangs is ended first. Returns True: another process may have seen the same loss.

        Raises:
            RoleError: It did not come back in time, or went with the process that made it.
        """
        who = self._members[role, replica]
        if loss is not None and loss.is_hung:
            end_for_restart(loss.handle, who, timeout_s=self._names.wait_s)
        actor = self._meet(role, replica)
        instruct(actor, self._recipes.get(role, Recipe()), self._members[role, replica], deadline_s=self._names.wait_s)
        return True

    def _meet(self, role: str, replica: int) -> Any:
        """Wait until whoever has the name answers; it may be another actor than before, on another node."""
        who = self._members[role, replica]
        find = partial(_handle, self._names, who, wait_s=_NAMELESS_S)
        actor, place = answer_after_restart(find, who, timeout_s=self._names.wait_s)
        self._actors[role, replica], self._places[role, replica] = actor, place
        self._members[role, replica] = replace(who, node=address_of(actor))
        return actor

    def close(self) -> None:
        """Nothing: only who made the cast ends its actors."""


def names_of(cast: Cast, name: str) -> ActorNames:
    """How to find a cast that was spawned under `name`."""
    namespace = ray.get_runtime_context().namespace
    members = tuple(cast.who(role, replica) for role, replica in cast.places())
    return ActorNames(name, namespace, members, wait_s=_NOTICE_S + cast.longest_move_s)


def attach(names: ActorNames) -> NamedActors:
    """The actors behind the names.

    Raises:
        RoleError: One is not there: the process that made them has ended.
    """
    return NamedActors(names)


def _handle(names: ActorNames, who: Who, *, wait_s: float = 0.0) -> Any:
    name, deadline = actor_name(names.name, who.role, who.replica), time.monotonic() + wait_s
    while True:
        try:
            return ray.get_actor(name, namespace=names.namespace)
        except ValueError as error:
            if time.monotonic() >= deadline:
                raise RoleError(
                    f"there is no actor {name!r}; the process that made it has ended, or has no place for it"
                ) from error
            time.sleep(_POLL_S)
