"""The learner's end of a publication: tensors in, the driver's part of a notice out, by whichever way to travel."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from torch import Tensor

from actors.messages import Weights
from actors.weights.arrays import NAMES, array_copy
from actors.weights.broadcasting import send, send_header
from actors.weights.channel import Channel
from actors.weights.layout import TensorEntry, WeightLayout
from actors.weights.publication import Part, publisher
from actors.weights.transports import Broadcast, WeightTransport
from allgood.errors import RoleError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PublicationPlan:
    """What the driver needs to know in order to publish: once, since no version changes it.

    `broadcast_timeout_s` is there where rollout actors are to receive a broadcast. `is_collective` says that all
    learners must take part, because each holds a shard.
    """

    layout: WeightLayout
    broadcast_timeout_s: float | None
    is_collective: bool


def gathered(
    entries: Iterable[TensorEntry], tensor_of: Callable[[str], Tensor], *, policy_version: int, training: str
) -> Weights:
    """A part of a version. `tensor_of` gives a whole tensor, which is copied before the next one is asked for."""
    arrays, dtypes = {}, {}
    for entry in entries:
        arrays[entry.name] = array_copy(tensor_of(entry.name), entry.dtype)
        dtypes[entry.name] = NAMES[entry.dtype]
    return Weights(policy_version, arrays, dtypes, training)


class Outlet:
    """Publishes parts of versions, and broadcasts them to rollout actors that have met the learner."""

    def __init__(self, transport: WeightTransport) -> None:
        self._transport = transport
        self._publisher = publisher(transport)
        self._channel = Channel()

    def plan(self, layout: WeightLayout, *, is_collective: bool) -> PublicationPlan:
        """What the driver is to do."""
        timeout_s = self._transport.timeout_s if isinstance(self._transport, Broadcast) else None
        return PublicationPlan(layout, timeout_s, is_collective)

    def open_channel(self, host: str) -> str:
        """Open the meeting point of a broadcast on `host`; returns its address for everybody's `join_channel`."""
        return self._channel.open(host)

    def join_channel(self, size: int, address: str) -> None:
        """Meet the `size` - 1 rollout actors."""
        assert isinstance(self._transport, Broadcast), "the plan names no broadcast"
        self._channel.join(0, size, address, timeout_s=self._transport.timeout_s)

    def publish(self, weights: Weights, part: int) -> Part:
        """What the driver's notice is to hold for this part."""
        return self._publisher.publish(weights, part)

    def broadcast(self, weights: Weights, part: int) -> None:
        """Send one part to those who have met; the first one that fails is the last that is tried."""
        if not self._channel.is_open:
            return
        try:
            if part == 0:
                send_header(self._channel, policy_version=weights.policy_version, training=weights.training)
            send(self._channel, weights)
        except RoleError as error:  # the receivers see it too, and fetch the version instead
            logger.warning("weight version %d was not broadcast: the learner %s", weights.policy_version, error)
