"""Frozen actors that several processes use: found by name, so that a sweep needs memory for one set of them.

Whoever spawned them owns them: they go when that process goes, however it ends.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ray

from actors.cluster.cast import Cast
from actors.cluster.recipe import Recipe
from actors.cluster.recovery import Loss
from actors.cluster.seats import actor_name
from actors.cluster.starting import answer_after_restart, end_for_restart, instruct
from actors.cluster.supervision import ActorNames, Who
from allgood.errors import RoleError

_RESTART_S = 120.0


class NamedActors:
    """The actors of somebody else's cast. It has no rollout actors and no learners: those hold changing weights."""

    def __init__(self, names: ActorNames) -> None:
        self._names = names
        self._recipes: dict[str, Recipe] = {}
        self._places: dict[Who, Mapping[str, Any]] = {}
        for role in dict.fromkeys(who.role for who in names.members):
            self.handles(role)

    @property
    def scorers(self) -> list[str]:
        """Properties that have reward actors, in the order of the cast."""
        roles = dict.fromkeys(who.role for who in self._names.members)
        return [role.removeprefix("reward.") for role in roles if role.startswith("reward.")]

    def handles(self, role: str) -> Sequence[Any]:
        """The replicas of a role as they are now; empty for a role that is not there."""
        return [_handle(self._names, who) for who in self._names.members if who.role == role]

    def who(self, role: str, replica: int = 0) -> Who:
        """The name of an actor for messages."""
        return next(who for who in self._names.members if (who.role, who.replica) == (role, replica))

    def place(self, role: str, replica: int = 0) -> Mapping[str, Any]:
        """What an actor has said about where it runs; it is asked the first time.

        Raises:
            RoleError: It does not answer.
        """
        who = self.who(role, replica)
        if who not in self._places:
            self._places[who] = answer_after_restart(_handle(self._names, who), who, timeout_s=_RESTART_S)
        return self._places[who]

    def change_recipe(self, role: str, change: Callable[[Recipe], Recipe]) -> None:
        """Note what this process tells the replicas of a role."""
        self._recipes[role] = change(self._recipes.get(role, Recipe()))

    def restart(self, role: str, replica: int = 0, loss: Loss | None = None) -> bool:
        """Wait until Ray has started a dead replica anew, and tell it again what this process has told the role.

        A replica that hangs is ended first. Returns True: another process may have seen the same loss.

        Raises:
            RoleError: It did not come back in time, or went with the process that made it.
        """
        who = self.who(role, replica)
        actor = _handle(self._names, who)
        if loss is not None and loss.is_hung:
            end_for_restart(actor, who, timeout_s=_RESTART_S)
        self._places[who] = answer_after_restart(actor, who, timeout_s=_RESTART_S)
        instruct(actor, self._recipes.get(role, Recipe()), who, deadline_s=_RESTART_S)
        return True

    def close(self) -> None:
        """Nothing: only who made the cast ends its actors."""


def names_of(cast: Cast, name: str) -> ActorNames:
    """How to find a cast that was spawned under `name`."""
    namespace = ray.get_runtime_context().namespace
    return ActorNames(name, namespace, tuple(cast.who(role, replica) for role, replica in cast.places()))


def attach(names: ActorNames) -> NamedActors:
    """The actors behind the names.

    Raises:
        RoleError: One is not there: the process that made them has ended.
    """
    return NamedActors(names)


def _handle(names: ActorNames, who: Who) -> Any:
    name = actor_name(names.name, who.role, who.replica)
    try:
        return ray.get_actor(name, namespace=names.namespace)
    except ValueError as error:
        raise RoleError(f"there is no actor {name!r}; the process that made it has ended") from error
