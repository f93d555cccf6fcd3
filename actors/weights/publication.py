"""Publication: how a weight version gets from the learner to the rollout actors.

The learner publishes its weights and answers with a notice; whoever holds the notice can fetch them, as often as it
likes. The driver hands notices on and keeps the newest, with which a rollout actor that starts anew gets the version
that the others hold. Another way of publication, such as files or NCCL, is one more class with these two ends.
"""

from __future__ import annotations

from typing import Protocol, TypeVar

from actors.messages import Weights

Notice = TypeVar("Notice")


class Publication(Protocol[Notice]):
    """One way for weights to travel. The learner has the one end and every rollout actor the other."""

    def publish(self, weights: Weights) -> Notice:
        """Make a version available; the notice goes to the receivers and should be small for the driver."""

    def fetch(self, notice: Notice) -> Weights:
        """The version that a notice tells of."""


class ObjectStore:
    """Through Ray's object store: the notice is the weights themselves.

    As an answer of the learner they lie in the object store, and the driver holds a reference to them only. They are
    written once per node, read-only on arrival, and stay until the driver drops the reference.
    """

    def publish(self, weights: Weights) -> Weights:
        """The weights; Ray stores what an actor returns."""
        return weights

    def fetch(self, notice: Weights) -> Weights:
        """The weights; Ray resolves a reference that an actor is given."""
        return notice
