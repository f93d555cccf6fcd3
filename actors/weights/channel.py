"""A process group of one learner and the rollout actors, through which a weight version is broadcast (gloo).

It stands alongside the learners' own group and is not torch's default one. Every wait has a deadline. After any failure
the group is useless: its members leave it, what arrived so far must not be used, and the driver has the living meet
again at a new address.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import PrefixStore, ProcessGroupGloo, TCPStore  # type: ignore[attr-defined]

from actors.meeting import connect, open_store
from allgood.errors import RoleError

_ROOT = 0  # the learner's rank


class Channel:
    """One member's end; closed until `join`."""

    def __init__(self) -> None:
        self._store: TCPStore | None = None
        self._group: ProcessGroupGloo | None = None

    @property
    def is_open(self) -> bool:
        """Whether this member has met the others and nothing has failed since."""
        return self._group is not None

    def open(self, host: str) -> str:
        """The learner opens a meeting point, bound to `host` only; returns its address for everybody's `join`."""
        self.leave()
        self._store, address = open_store(host)
        return address

    def join(self, rank: int, size: int, address: str, *, timeout_s: float) -> None:
        """Meet the others; returns when all have come. Rank 0 is the learner.

        Raises:
            RoleError: Somebody did not come in time.
        """
        if rank != _ROOT:
            self.leave()
        timeout = timedelta(seconds=timeout_s)
        with self._failing(f"meet the other {size - 1} members at {address}"):
            if self._store is None:
                self._store = connect(address, timeout)
            self._group = ProcessGroupGloo(PrefixStore("weights", self._store), rank, size, timeout)

    def leave(self) -> None:
        """Have no group any more."""
        self._group, self._store = None, None

    def broadcast_(self, tensor: Tensor) -> None:
        """Send a contiguous CPU tensor from the learner, or fill it elsewhere; bits travel, whatever they mean.

        Raises:
            RoleError: A member died or did not take part in time, or there is no group. There is none afterwards.
        """
        if self._group is None:
            raise RoleError("there is no group to broadcast weights in; its members must meet first")
        options = dist.BroadcastOptions()
        options.rootRank, options.rootTensor = _ROOT, 0
        with self._failing("take part in the broadcast of weights"):
            # Bytes, because a dtype must be known to the backend to travel as itself.
            work = self._group.broadcast([tensor.view(-1).view(torch.uint8)], options)  # type: ignore[attr-defined]
            work.wait()

    @contextmanager
    def _failing(self, what: str) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            self.leave()
            raise RoleError(f"could not {what}: {str(error).splitlines()[0]}") from error
