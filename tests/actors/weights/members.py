"""A member of a broadcast group in a process of its own, without models: it starts in a second."""

from __future__ import annotations

import os
import time

from actors.messages import Weights
from actors.weights.broadcasting import receive, send, send_header
from actors.weights.channel import Channel
from actors.weights.layout import WeightLayout


class Member:
    """One end of a channel."""

    def __init__(self) -> None:
        self.channel = Channel()

    def open(self) -> str:
        return self.channel.open("127.0.0.1")

    def join(self, rank: int, size: int, address: str, timeout_s: float) -> int:
        self.channel.join(rank, size, address, timeout_s=timeout_s)
        return os.getpid()

    def send(self, weights: Weights) -> None:
        send_header(self.channel, policy_version=weights.policy_version, training=weights.training)
        send(self.channel, weights)

    def receive(self, layout: WeightLayout) -> Weights:
        return receive(self.channel, layout)

    def is_open(self) -> bool:
        return self.channel.is_open

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)
