"""Frozen actors that several processes use: found by name, so that a sweep needs memory for one set of them.

Whoever spawned them owns them: they go when that process goes, however it ends.
"""

from __future__ import annotations

from typing import Any

import ray

from actors.cluster.cast import Cast, actor_name
from actors.cluster.supervision import ActorNames, Who
from allgood.errors import RoleError


class NamedActors:
    """The actors of somebody else's cast. It has no rollout actors and no learners: those hold changing weights."""

    def __init__(self, names: ActorNames) -> None:
        self._names = names
        self._handles = {
            (who.role, who.replica): _handle(actor_name(names.name, who.role, who.replica), names.namespace)
            for who in names.members
        }

    @property
    def rollouts(self) -> list[Any]:
        """None."""
        return []

    @property
    def learners(self) -> list[Any]:
        """None."""
        return []

    @property
    def rewards(self) -> dict[str, list[Any]]:
        """Handles of the reward workers, per property."""
        roles = dict.fromkeys(role for role, _ in self._handles if role.startswith("reward."))
        return {role.removeprefix("reward."): self._role(role) for role in roles}

    @property
    def reference_policies(self) -> list[Any]:
        """Handles of the reference-policy workers."""
        return self._role("reference_policy")

    def who(self, role: str, replica: int = 0) -> Who:
        """The name of an actor for messages."""
        return next(who for who in self._names.members if (who.role, who.replica) == (role, replica))

    def close(self) -> None:
        """Nothing: only who made the cast ends its actors."""

    def _role(self, role: str) -> list[Any]:
        return [handle for (name, _), handle in self._handles.items() if name == role]


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


def _handle(name: str, namespace: str) -> Any:
    try:
        return ray.get_actor(name, namespace=namespace)
    except ValueError as error:
        raise RoleError(f"there is no actor {name!r}; the process that made it has ended") from error
