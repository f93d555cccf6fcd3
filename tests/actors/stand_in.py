"""What a test's own `Actors` need not say: a test overrides what it asks for, and anything else is a mistake of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from actors.cluster.recipe import Recipe
from actors.cluster.recovery import Loss
from actors.cluster.supervision import Who


class StandIn:
    """`actors.cluster.pool.Actors` without actors."""

    def who(self, role: str, replica: int = 0) -> Who:
        return Who(role, replica)

    def place(self, role: str, replica: int = 0) -> Mapping[str, Any]:
        raise NotImplementedError

    def change_recipe(self, role: str, change: Callable[[Recipe], Recipe]) -> None:
        raise NotImplementedError

    def restart(self, role: str, replica: int = 0, loss: Loss | None = None) -> bool:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError
