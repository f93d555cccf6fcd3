"""Data parallel learners: a batch is split by prompt, gradients are summed, every learner takes the same step.

The driver calls `shard`, sends one part to each learner, and `merge`s the answers. Inside a learner, `Peers` sums
tensors over the group (gloo on CPU, NCCL on GPU), always with a deadline: a lost or stuck peer becomes an error.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import TCPStore  # type: ignore[attr-defined]  # exported without being listed

from actors.faults import LearnerLostError
from actors.meeting import connect, open_store
from actors.messages import Batch, UpdateResult
from allgood.errors import RoleError, TrainingError

_BUCKET = 1 << 25  # elements per all-reduce: 128 MB of float32 in flight


def shard(batch: Batch, num_learners: int) -> list[Batch]:
    """Split a batch into whole prompt groups, balanced by tokens; the same batch always splits the same way.

    Learners may get no rows at all when there are fewer prompts than learners; they still take part in the update.
    """
    if num_learners == 1:
        return [batch]
    tokens: dict[int, int] = {}
    for group, prompt, response in zip(batch.groups.tolist(), batch.prompt_tokens, batch.response_tokens, strict=True):
        tokens[group] = tokens.get(group, 0) + len(prompt) + len(response)
    loads = [0] * num_learners
    owners: dict[int, int] = {}
    for group in sorted(tokens, key=lambda group: (-tokens[group], group)):  # largest first, to the least loaded
        owners[group] = loads.index(min(loads))
        loads[owners[group]] += tokens[group]
    return [
        _rows(batch, [row for row, group in enumerate(batch.groups.tolist()) if owners[group] == learner])
        for learner in range(num_learners)
    ]


def merge(results: Sequence[UpdateResult]) -> UpdateResult:
    """One answer for the group. Metrics are already sums over all learners; the slowest one's seconds count.

    Raises:
        TrainingError: The learners took different steps, so their weights are no longer the same.
    """
    first = results[0]
    for rank, result in enumerate(results):
        norm, first_norm = result.metrics["gradient_norm"], first.metrics["gradient_norm"]
        if result.policy_version != first.policy_version or not math.isclose(norm, first_norm, rel_tol=1e-3):
            raise TrainingError(
                f"learner {rank} took another step than learner 0 (version {result.policy_version}, gradient norm "
                f"{norm:g}; not {first.policy_version}, {first_norm:g}); resume from the last checkpoint"
            )
    seconds = max(result.metrics["seconds"] for result in results)
    return UpdateResult(first.policy_version, {**first.metrics, "seconds": seconds})


class Peers:
    """The other learners of this one, reached through torch.distributed; alone until `join`."""

    def __init__(self) -> None:
        self.rank = 0
        self.size = 1
        self._store: TCPStore | None = None
        self._device = torch.device("cpu")

    def open(self, host: str) -> str:
        """Open the meeting point on rank 0, bound to `host` only; returns "host:port" for everybody's `join`."""
        self._store, address = open_store(host)
        return address

    def join(self, rank: int, size: int, address: str, *, device: torch.device, timeout_s: float) -> None:
        """Meet the others at `address`; returns when all have come. A group joined earlier is left first."""
        self.leave()
        timeout = timedelta(seconds=timeout_s)
        store = self._store if rank == 0 and self._store is not None else connect(address, timeout)
        backend = "nccl" if device.type == "cuda" else "gloo"
        try:
            dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=timeout)
        except RuntimeError as error:
            raise RoleError(
                f"learner {rank} could not meet the other {size - 1} learners at {address}: {error}"
            ) from error
        self.rank, self.size, self._device = rank, size, device

    def leave(self) -> None:
        """Back to being alone."""
        if dist.is_initialized():
            dist.destroy_process_group()
        self.rank, self.size = 0, 1

    def largest(self, number: int) -> int:
        """The largest of the learners' numbers.

        Raises:
            LearnerLostError: A peer died, or did not come within the group's timeout.
        """
        if self.size == 1:
            return number
        largest = torch.tensor([number], device=self._device)
        with self.watched("passes were counted"):
            dist.all_reduce(largest, dist.ReduceOp.MAX)
        return int(largest.item())

    @contextmanager
    def watched(self, doing: str) -> Iterator[None]:
        """Inside this context, a collective operation that fails is the loss of a peer, and said so.

        Raises:
            LearnerLostError: A peer died, or did not come within the group's timeout.
        """
        try:
            yield
        except RuntimeError as error:
            if self.size == 1 or not _is_of_group(error):
                raise
            raise LearnerLostError(
                f"learner {self.rank} lost a peer while {doing} ({str(error).splitlines()[0]}); "
                "resume from the last checkpoint"
            ) from error

    def sum_(self, tensor: Tensor) -> None:
        """Replace a flat tensor by its sum over the learners; every learner ends with the same bits.

        Raises:
            LearnerLostError: A peer died, or did not come within the group's timeout.
        """
        if self.size == 1:
            return
        with self.watched("gradients were summed"):
            for part in tensor.split(_BUCKET):
                dist.all_reduce(part)


def _is_of_group(error: RuntimeError) -> bool:
    """Whether an error comes from a backend of torch.distributed."""
    return isinstance(error, dist.DistError) or any(name in str(error) for name in ("gloo", "NCCL"))


def _rows(batch: Batch, rows: Sequence[int]) -> Batch:
    picked = np.array(rows, dtype=np.int64)
    return dataclasses.replace(
        batch,
        prompt_tokens=tuple(batch.prompt_tokens[row] for row in rows),
        response_tokens=tuple(batch.response_tokens[row] for row in rows),
        logprobs=tuple(batch.logprobs[row] for row in rows),
        reference_logprobs=tuple(batch.reference_logprobs[row] for row in rows),
        utilities=batch.utilities[picked],
        groups=batch.groups[picked],
    )
