"""Publication: how a weight version gets from the learner to the rollout actors.

The learner publishes a version part by part. What it returns for a part belongs to the driver, which collects
references to all parts in a `Notice`. Whoever holds the notice can fetch the version, as often as it likes and also
after the learner's death; the driver keeps the newest one for rollout actors that start anew.

The ways to travel differ in what a part is: `Weights` lie in the object store themselves, a `StoredFile` names a file
and its checksum. A broadcast (`actors.weights.channel`) reaches the living without a notice, and publishes one for the
others.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from actors.messages import Weights
from actors.weights.files import FilePublisher, StoredFile, discard
from actors.weights.transports import SharedFiles, WeightTransport
from allgood.errors import AllgoodError, RoleError

Part = Weights | StoredFile


@dataclass(frozen=True)
class Notice:
    """Tells of a published version. Its parts are references to what the learner returned, or the values themselves."""

    parts: tuple[Any, ...]


class Publisher(Protocol):
    """The learner's end: makes one part of a version available."""

    def publish(self, weights: Weights, part: int) -> Part:
        """What the notice is to hold for this part."""


class ObjectStorePublisher:
    """Ray stores what an actor returns: once per node, read-only on arrival, until the driver drops its reference."""

    def publish(self, weights: Weights, part: int) -> Weights:
        """The part itself."""
        return weights


def publisher(transport: WeightTransport) -> Publisher:
    """The learner's end of a way to travel. Next to a broadcast, the object store serves who missed it."""
    return FilePublisher(transport) if isinstance(transport, SharedFiles) else ObjectStorePublisher()


def fetch(notice: Notice) -> Weights:
    """The version that a notice tells of.

    Raises:
        AllgoodError: A file is missing or damaged, the parts are not those of one version, or the learner could not
            publish.
    """
    return _joined([part.weights() if isinstance(part, StoredFile) else part for part in _resolved(notice.parts)])


def discard_published(notice: Notice) -> None:
    """Remove what the publication of a version, and of those before it, left outside the object store."""
    from ray.exceptions import RayError

    try:
        parts = _resolved(notice.parts[:1])
    except (RayError, AllgoodError):  # it went with the learner or its node, or was never published
        return
    for part in parts:
        if isinstance(part, StoredFile):
            discard(part)


def _resolved(parts: Iterable[Any]) -> list[Part]:
    given = list(parts)
    if all(isinstance(part, Part) for part in given):
        return given
    import ray  # an actor class works without Ray, until it is handed references

    try:
        resolved: list[Part] = ray.get(given)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, AllgoodError):  # the learner's own sentence, without Ray's traceback in it
            raise error.cause from None
        raise
    return resolved


def _joined(parts: list[Weights]) -> Weights:
    versions = {(part.training, part.policy_version) for part in parts}
    if len(versions) != 1:
        raise RoleError(f"a notice has parts of several versions, {sorted(versions)}; publish the weights again")
    [(training, policy_version)] = versions
    arrays = {name: array for part in parts for name, array in part.arrays.items()}
    dtypes = {name: dtype for part in parts for name, dtype in part.dtypes.items()}
    return Weights(policy_version, arrays, dtypes, training)
