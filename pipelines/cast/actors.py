"""The actors that a run uses: its own, or shared ones with a lane of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from actors.cluster.cast import Cast, CastRequest, spawn
from actors.cluster.pool import Actors
from actors.cluster.recipe import Recipe
from actors.cluster.recovery import Loss
from actors.cluster.supervision import Who
from pipelines.cast.stored_models import with_stored_models
from pipelines.cast.threads import with_run_threads
from pipelines.config.run import RunConfig
from pipelines.output.progress import say
from pipelines.run.session import ray_session

__all__ = ["Actors", "SharedActors", "cast_for"]


@dataclass(frozen=True)
class SharedActors:
    """A lane of its own: rollout and learner actors of one cast, reward and reference actors of another."""

    own: Cast
    shared: Actors

    @property
    def scorers(self) -> list[str]:
        """Properties with reward actors, which other lanes use too."""
        return self.shared.scorers

    def handles(self, role: str) -> Sequence[Any]:
        """The replicas of a role as they are now."""
        return self._owner(role).handles(role)

    def who(self, role: str, replica: int = 0) -> Who:
        """The name of an actor for messages."""
        return self._owner(role).who(role, replica)

    def place(self, role: str, replica: int = 0) -> Mapping[str, Any]:
        """What an actor has said about where it runs."""
        return self._owner(role).place(role, replica)

    def change_recipe(self, role: str, change: Callable[[Recipe], Recipe]) -> None:
        """Note what the replicas of a role are told, with whoever owns them."""
        self._owner(role).change_recipe(role, change)

    def restart(self, role: str, replica: int = 0, loss: Loss | None = None) -> bool:
        """Have the owner of one replica start it anew."""
        return self._owner(role).restart(role, replica, loss)

    def close(self) -> None:
        """End the lane's own actors; the shared ones belong to another cast."""
        self.own.close()

    def _owner(self, role: str) -> Actors:
        return self.own if role in ("rollout", "learner") else self.shared


@contextmanager
def cast_for(
    config: RunConfig, request_of: Callable[[RunConfig], CastRequest], cast: Actors | None
) -> Iterator[Actors]:
    """The given actors, which stay; or fresh ones in a Ray session, with the run's threads, which go at the end."""
    if cast is not None:
        yield cast
        return
    with ray_session():
        request = with_stored_models(config, request_of(with_run_threads(config)))
        with spawn(request, tell=say) as own:
            say(own.where())
            yield own
