"""Failures of actors that another try may get over, as types: whoever retries tells them from refusals.

A refusal (the wrong weight version, a prompt without a reference) would be the same on every replica, and ends a run.
What stands here is about one process: it is gone, it hangs, or it is a new one that was not told everything yet.
"""

from __future__ import annotations

from allgood.errors import RoleError


class ActorLostError(RoleError):
    """An actor died, or nobody can reach it; another one may give the answer."""


class ActorHungError(ActorLostError):
    """An actor did not answer in time. It may still be there, and must be ended before its work is done again."""


class LearnerLostError(ActorLostError):
    """A learner died or hangs, or lost one of its peers. Its progress goes with it: it comes back from a checkpoint."""


class LearnerMemoryError(LearnerLostError):
    """A pass of learners that share one policy ran out of memory on one of them, and left the others waiting for it.

    `pass_tokens` is half of what the pass was allowed to hold.
    """

    def __init__(self, message: str, pass_tokens: int = 1) -> None:
        super().__init__(message)
        self.pass_tokens = pass_tokens


class LostTreatmentError(RoleError):
    """A reward actor was started anew and does not know the treatment that it is asked for."""


class LostObjectError(RoleError):
    """An object that an actor was given, such as published weights, went with the node or process that held it."""
