"""Seconds until every receiver holds a weight version, for each way to travel, against `ray.put` of a torch state dict.

    python -m benchmarks.transport            # 100 and 500 MB to 1 and 4 receivers; --write also writes the page
    python -m benchmarks.transport 100        # only this size

Float32 in 40 equal tensors. Sender and receivers are Ray actors of one thread each on this machine. Timed is what a
run does: from the driver's calls until the last receiver has copied the version into parameters of its own. Ways take
turns, so that other work on the machine disturbs all of them. Every receiver's bits are compared with the sender's.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import hashlib
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import torch
from torch import nn

from actors.tables import markdown_table
from actors.weights.broadcasting import receive
from actors.weights.channel import Channel
from actors.weights.copying import copy_weights
from actors.weights.layout import WeightLayout, layout_of
from actors.weights.outlet import Outlet, gathered
from actors.weights.publication import Notice, Part, fetch
from actors.weights.transports import Broadcast, ObjectStore, SharedFiles
from pipelines.run.session import ray_session

PAGE = Path(__file__).parent / "results" / "transport.md"
NUM_TENSORS, REPEATS = 40, 5
TIMEOUT_S = 120.0


class Policy(nn.Module):
    """Nothing but weights."""

    def __init__(self, megabytes: int) -> None:
        super().__init__()
        rows = megabytes * 10**6 // 4 // NUM_TENSORS // 1000
        self.layers = nn.ParameterList([nn.Parameter(torch.randn(rows, 1000)) for _ in range(NUM_TENSORS)])

    def digest(self) -> str:
        """sha256 of all bits."""
        bits = hashlib.sha256()
        for parameter in self.layers:
            bits.update(parameter.detach().numpy().tobytes())
        return bits.hexdigest()


class Sender:
    """A learner that only publishes; `step` makes another version."""

    def __init__(self, megabytes: int, folder: str) -> None:
        torch.manual_seed(0)
        self.policy, self.version, self.training = Policy(megabytes), 0, uuid.uuid4().hex
        transports = {"object store": ObjectStore(), "files": SharedFiles(folder=folder), "broadcast": Broadcast()}
        self.outlets = {name: Outlet(transport) for name, transport in transports.items()}

    def layout(self) -> WeightLayout:
        return layout_of(dict(self.policy.named_parameters()), torch.float32)

    def step(self) -> str:
        self.version += 1
        with torch.no_grad():
            for parameter in self.policy.layers:
                parameter.add_(1.0)
        return self.policy.digest()

    def publish(self, way: str, part: int) -> Part:
        weights = gathered(
            self.layout().parts[part], self.policy.get_parameter, policy_version=self.version, training=self.training
        )
        self.outlets[way].broadcast(weights, part)  # only the outlet of broadcasts has met anybody
        return self.outlets[way].publish(weights, part)

    def put(self) -> Any:
        """The plain way."""
        return [ray.put(self.policy.state_dict())]

    def open_channel(self) -> str:
        return self.outlets["broadcast"].open_channel("127.0.0.1")

    def join_channel(self, size: int, address: str) -> None:
        self.outlets["broadcast"].join_channel(size, address)


class Receiver:
    """A rollout actor that only takes weights."""

    def __init__(self, megabytes: int) -> None:
        self.policy, self.channel = Policy(megabytes), Channel()

    def digest(self) -> str:
        return self.policy.digest()

    def set_weights(self, notice: Notice) -> None:
        copy_weights(fetch(notice), self.policy)

    def receive(self, layout: WeightLayout) -> None:
        copy_weights(receive(self.channel, layout), self.policy)

    def load(self, state: list[Any]) -> None:
        self.policy.load_state_dict(ray.get(state[0]))

    def join_channel(self, rank: int, size: int, address: str) -> None:
        self.channel.join(rank, size, address, timeout_s=TIMEOUT_S)


@dataclass(frozen=True)
class Case:
    """One size and number of receivers: seconds by way."""

    megabytes: int
    num_receivers: int
    seconds: dict[str, list[float]]


def main() -> int:
    """Measure, print, and with --write keep the page."""
    sizes = [int(word) for word in sys.argv[1:] if word.isdigit()] or [100, 500]
    with ray_session(), tempfile.TemporaryDirectory() as folder:
        cases = [measured(size, count, folder) for size in sizes for count in (1, 4)]
    text = page(cases)
    print(text)
    if "--write" in sys.argv[1:]:
        PAGE.write_text(text, encoding="utf-8")
    return 0


def measured(megabytes: int, num_receivers: int, folder: str) -> Case:
    """Seconds of every way, which take turns."""
    sender = ray.remote(Sender).options(num_cpus=0.1).remote(megabytes, folder)
    receivers = [ray.remote(Receiver).options(num_cpus=0.1).remote(megabytes) for _ in range(num_receivers)]
    layout = ray.get(sender.layout.remote())
    meet(sender, receivers)
    ways: dict[str, Callable[[], None]] = {
        "ray.put of a state dict": lambda: plain(sender, receivers),
        "object store": lambda: publish(sender, receivers, layout, "object store"),
        "files": lambda: publish(sender, receivers, layout, "files"),
        "broadcast": lambda: publish(sender, receivers, layout, "broadcast"),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for repeat in range(1 + REPEATS):
        for name, way in ways.items():
            expected = ray.get(sender.step.remote())
            began = time.perf_counter()
            way()
            if repeat:  # the first use pays for pages that are used again
                seconds[name].append(time.perf_counter() - began)
            if any(digest != expected for digest in ray.get([receiver.digest.remote() for receiver in receivers])):
                raise SystemExit(f"{name}: a receiver holds other bits than the sender")
    for actor in (sender, *receivers):
        ray.kill(actor)
    return Case(megabytes, num_receivers, seconds)


def meet(sender: Any, receivers: Sequence[Any]) -> None:
    address = ray.get(sender.open_channel.remote())
    size = 1 + len(receivers)
    joins = [receiver.join_channel.remote(rank, size, address) for rank, receiver in enumerate(receivers, start=1)]
    ray.get([sender.join_channel.remote(size, address), *joins])


def publish(sender: Any, receivers: Sequence[Any], layout: WeightLayout, way: str) -> None:
    notice = Notice(tuple(sender.publish.remote(way, part) for part in range(len(layout.parts))))
    if way == "broadcast":
        ray.get([receiver.receive.remote(layout) for receiver in receivers])
    else:
        ray.get([receiver.set_weights.remote(notice) for receiver in receivers])


def plain(sender: Any, receivers: Sequence[Any]) -> None:
    state = ray.get(sender.put.remote())
    ray.get([receiver.load.remote(state) for receiver in receivers])


def page(cases: Sequence[Case]) -> str:
    """Median seconds, and the ratio to the plain way."""
    ways = list(cases[0].seconds)
    rows = []
    for case in cases:
        medians = {way: statistics.median(case.seconds[way]) for way in ways}
        cells = [f"{medians[way]:.2f} s ({medians[ways[0]] / medians[way]:.1f} x)" for way in ways[1:]]
        rows.append([f"{case.megabytes} MB to {case.num_receivers}", f"{medians[ways[0]]:.2f} s", *cells])
    spread = max(max(values) / min(values) for case in cases for values in case.seconds.values())
    lines = [
        "# Weight transport",
        "",
        "Written by `python -m benchmarks.transport --write`. Median seconds until every receiver has copied a version",
        f"into its own parameters, {REPEATS} times; in brackets how much faster than `ray.put` of a torch state dict.",
        f"Float32 in {NUM_TENSORS} tensors; all processes on one machine, one thread each. Every bit was compared.",
        "",
        f"torch {torch.__version__}, Ray {ray.__version__}, {os.cpu_count()} CPU cores, load average "
        f"{os.getloadavg()[0]:.1f} at the end (above the number of",
        f"cores, other work was running too). The slowest of {REPEATS} was up to {spread:.1f} times the fastest.",
        "",
        *markdown_table(["case", *ways], rows),
        "",
        "A broadcast also leaves a copy in the object store, which is in its time. Files are hashed by the sender and",
        "by every receiver. Between machines the store sends one copy per node, a broadcast one per receiver.",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
