"""The actors that a run uses: its own, or shared ones with a lane of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from actors.cluster.cast import Cast, CastRequest, spawn
from actors.cluster.supervision import Who
from pipelines.output.progress import say
from pipelines.run.session import ray_session


class Actors(Protocol):
    """What a lane needs of a cast."""

    @property
    def rollouts(self) -> list[Any]:
        """Handles of the rollout workers."""

    @property
    def rewards(self) -> dict[str, list[Any]]:
        """Handles of the reward workers, per property."""

    @property
    def reference_policies(self) -> list[Any]:
        """Handles of the reference-policy workers."""

    @property
    def learners(self) -> list[Any]:
        """Handles of the learners, in rank order."""

    def who(self, role: str, replica: int = 0) -> Who:
        """The name of an actor for messages."""

    def close(self) -> None:
        """End the actors; whoever waits for one of them gets a RoleError."""


@dataclass(frozen=True)
class SharedActors:
    """A lane of its own: rollout and learner actors of one cast, reward and reference actors of another."""

    own: Cast
    shared: Actors

    @property
    def rollouts(self) -> list[Any]:
        """The lane's own rollout workers."""
        return self.own.rollouts

    @property
    def rewards(self) -> dict[str, list[Any]]:
        """Reward workers that other lanes use too."""
        return self.shared.rewards

    @property
    def reference_policies(self) -> list[Any]:
        """Reference-policy workers that other lanes use too."""
        return self.shared.reference_policies

    @property
    def learners(self) -> list[Any]:
        """The lane's own learners."""
        return self.own.learners

    def who(self, role: str, replica: int = 0) -> Who:
        """The name of an actor for messages."""
        owner: Actors = self.own if role in ("rollout", "learner") else self.shared
        return owner.who(role, replica)

    def close(self) -> None:
        """End the lane's own actors; the shared ones belong to another cast."""
        self.own.close()


@contextmanager
def cast_for(request: CastRequest, cast: Actors | None) -> Iterator[Actors]:
    """The given actors, which stay; or fresh ones in a Ray session, which go at the end."""
    if cast is not None:
        yield cast
        return
    with ray_session(), spawn(request) as own:
        say(own.where())
        yield own
