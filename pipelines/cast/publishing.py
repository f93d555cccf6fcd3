"""The driver's part in a publication: it asks for the parts of a version, owns them, and tells the rollout actors.

What a learner returns belongs to the driver, who notes it in the rollout actors' recipe before they are told: so it
outlives the learner, and reaches who starts anew later. In between the learner may have gone on. With a broadcast, the
group of learner and rollout actors forms when it is first needed and again whenever one of them is another process than
before or the last broadcast failed.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from actors.cluster.gather import gather
from actors.cluster.pool import Actors, Pool
from actors.cluster.recipe import Recipe
from actors.cluster.supervision import ask
from actors.weights.outlet import PublicationPlan
from actors.weights.publication import Notice
from allgood.errors import RoleError

logger = logging.getLogger(__name__)

_MARGIN_S = 30.0  # beyond the deadline that members of a group keep among themselves


class WeightPublishing:
    """Publication from the learners of a lane to its rollout actors."""

    def __init__(self, cast: Actors, learners: Pool, rollouts: Pool) -> None:
        self._cast, self._learners, self._rollouts = cast, learners, rollouts
        self._plan: PublicationPlan | None = None
        self._members: list[Any] = []  # who has met for broadcasts

    async def publish(self) -> list[int]:
        """Have every rollout actor hold the learners' current version; returns the versions that they hold."""
        await self.prepare()
        return await self.announce()()

    async def prepare(self) -> None:
        """Learn how versions are published; before the first one."""
        if self._plan is None:
            plan = await self._learners.call_first(lambda actor: actor.publication_plan, phase="plan the publication")
            self._plan = plan

    def announce(self) -> Callable[[], Awaitable[list[int]]]:
        """Ask for the learners' current version; what returns has every rollout actor hold it, and gives the versions
        that they hold. A broadcast goes to whoever listens, and is asked for only then.

        Raises:
            RoleError: There are no learners.
        """
        assert self._plan is not None, "nothing was prepared"
        if self._plan.broadcast_timeout_s is None:
            return partial(self._tell, self._ask_for_parts(is_broadcast=False))
        return partial(self._broadcast, self._plan, self._plan.broadcast_timeout_s)

    def renew(self) -> None:
        """Have the learners publish their current version again, for who starts anew."""
        self._note(self._ask_for_parts(is_broadcast=False))

    def _ask_for_parts(self, *, is_broadcast: bool) -> Notice:
        """The current version, without waiting for it."""
        assert self._plan is not None, "nothing was prepared"
        learners = range(self._learners.size if self._plan.is_collective else 1)
        answers = [
            [self._learners.handle(learner).publish.remote(part, is_broadcast) for learner in learners]
            for part in range(len(self._plan.layout.parts))
        ]
        return Notice(tuple(first for first, *_ in answers))

    def _note(self, notice: Notice) -> None:
        """Keep a version for rollout actors that start anew."""
        self._cast.change_recipe("rollout", partial(Recipe.with_weights, notice=notice))

    async def _tell(self, notice: Notice) -> list[int]:
        self._note(notice)
        return await self._rollouts.call_all(lambda actor: actor.set_weights, notice, phase="set weights")

    async def _broadcast(self, plan: PublicationPlan, timeout_s: float) -> list[int]:
        has_met = await self._meet(timeout_s)
        notice = self._ask_for_parts(is_broadcast=has_met)
        self._note(notice)
        if has_met:
            try:
                return await gather(
                    ask(
                        handle.receive,
                        plan.layout,
                        who=self._cast.who("rollout", replica),
                        phase="receive weights",
                        deadline_s=timeout_s * (1 + len(plan.layout.entries)) + _MARGIN_S,
                    )
                    for replica, handle in enumerate(self._members[1:])
                )
            except RoleError as error:
                logger.warning("weights were not received by broadcast (%s); they are fetched instead", error)
                self._members = []
        return await self._tell(notice)

    async def _meet(self, timeout_s: float) -> bool:
        """Form the group of the actors as they are now, unless it is there; whether it is."""
        members = [self._learners.handle(0), *map(self._rollouts.handle, range(self._rollouts.size))]
        if members == self._members:
            return True
        self._members = []
        learner, *rollouts = members
        who = self._cast.who("learner")
        size = len(members)
        join = partial(ask, phase="meet for broadcasts", deadline_s=timeout_s + _MARGIN_S)
        try:
            address = await join(learner.open_channel, who.node, who=who)
            await gather(
                [
                    join(learner.join_channel, size, address, who=who),
                    *(
                        join(
                            rollout.join_channel,
                            rank,
                            size,
                            address,
                            timeout_s,
                            who=self._cast.who("rollout", rank - 1),
                        )
                        for rank, rollout in enumerate(rollouts, start=1)
                    ),
                ]
            )
        except RoleError as error:
            logger.warning("learner and rollout actors have not met (%s); weights are fetched instead", error)
            return False
        self._members = members
        return True
