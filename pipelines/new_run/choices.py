"""Settings that fit the models and the machine: lengths, micro-batches, places, learning rate. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from actors.cluster.placement import Resources
from pipelines.inspection.memory import Shape, training
from pipelines.new_run.facts import Machine

_TOTAL = 1280  # tokens of prompt and response, where the policy reads as many
_LONGEST_RESPONSE = 256
_MICRO_BATCHES = (16_384, 8192, 4096, 2048, 1024, 512, 256)
_ON_A_GPU = 1_000_000_000  # bytes of the libraries


@dataclass(frozen=True)
class Lengths:
    """Tokens of prompt and response."""

    prompt: int
    response: int

    @property
    def total(self) -> int:
        """Of both."""
        return self.prompt + self.response


def lengths(context: int | None) -> Lengths:
    """A fifth to a quarter of what the policy reads for the response, 256 tokens at most.

    >>> lengths(32_768), lengths(512)
    (Lengths(prompt=1024, response=256), Lengths(prompt=384, response=128))
    """
    total = min(_TOTAL, context or _TOTAL)
    response = min(_LONGEST_RESPONSE, total // 4)
    return Lengths(total - response, response)


def scoring_limit(policy: Lengths, context: int | None) -> int:
    """A quarter more than the policy has, as the scorer's tokens are others; at most what the scorer reads.

    >>> scoring_limit(Lengths(1024, 256), None), scoring_limit(Lengths(1024, 256), 512)
    (1600, 512)
    """
    wanted = math.ceil(1.25 * policy.total / 64) * 64
    return min(wanted, context or wanted)


def micro_batch_tokens(shape: Shape, *, memory: int, width: int) -> int | None:
    """The largest micro-batch with which a learner fits into `memory` bytes; None where not even the smallest does."""
    return next(
        (
            tokens
            for tokens in _MICRO_BATCHES
            if training(shape, num_trained=shape.num_parameters, tokens=tokens, predicted=tokens, width=width).total
            <= memory
        ),
        None,
    )


def learner_memory(machine: Machine, place: Resources) -> int:
    """Bytes that a learner may take: its share of a GPU, or a quarter of the main memory."""
    if place.gpus:
        return int(machine.gpu_bytes * min(place.gpus, 1.0)) - _ON_A_GPU
    return machine.memory_bytes // 4


def learning_rate(num_parameters: int) -> float:
    """Smaller for larger models, as all weights are trained."""
    return 1e-6 if num_parameters >= 300_000_000 else 1e-5 if num_parameters >= 20_000_000 else 1e-4


def places(roles: Sequence[str], machine: Machine) -> Mapping[str, Resources]:
    """Where each role runs; the first, the learner, needs most.

    With a GPU per role each has its own. With one, the learner has half of it and the others share the rest. In between
    the learner has one, and the others share the others. CPUs are shared evenly, at most one each.
    """
    cpus = min(1.0, _rounded_down(machine.num_cpus / len(roles)))
    learner, *others = roles
    if not machine.num_gpus:
        return {role: Resources(cpus=cpus) for role in roles}
    if machine.num_gpus >= len(roles):
        return {role: Resources(cpus=cpus, gpus=1.0) for role in roles}
    if machine.num_gpus == 1:
        return {learner: Resources(cpus=cpus, gpus=0.5)} | {
            role: Resources(cpus=cpus, gpus=_rounded_down(0.5 / len(others))) for role in others
        }
    each = math.ceil(len(others) / (machine.num_gpus - 1))  # a fraction never spans two GPUs
    return {learner: Resources(cpus=cpus, gpus=1.0)} | {
        role: Resources(cpus=cpus, gpus=_rounded_down(1 / each)) for role in others
    }


def good_label(property_name: str, labels: Sequence[str]) -> int:
    """The label that bears the property's name, else the second, which most classifiers mean by good.

    >>> good_label("harmless", ["toxic", "harmless"]), good_label("harmless", ["NEGATIVE", "POSITIVE"])
    (1, 1)
    """
    names = [label.lower() for label in labels]
    return names.index(property_name.lower()) if property_name.lower() in names else 1


def _rounded_down(share: float) -> float:
    """To two digits, so that the shares of a whole never exceed it."""
    return math.floor(100 * share + 1e-9) / 100
