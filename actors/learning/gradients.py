"""Gradients of one optimiser step over all learners: zeroed, summed and measured, scaled."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from actors.learning.group import Peers
from actors.learning.sharding import ShardedParameters


class Gradients(Protocol):
    """Between `zero_` and `sum_` come the backward passes of this learner."""

    def zero_(self) -> None:
        """Begin a step."""

    def sum_(self) -> float:
        """Complete the sum over all learners; returns its norm, the same on each."""

    def scale_(self, factor: float) -> None:
        """Multiply by a number."""


class WholeGradients:
    """Every learner holds all of them, in one flat buffer, so that one sum or scale reaches them all."""

    def __init__(self, parameters: Sequence[nn.Parameter], peers: Peers) -> None:
        self._peers = peers
        self._buffer, self._parts = _one_buffer(parameters)

    def zero_(self) -> None:
        """See `Gradients`."""
        self._buffer.zero_()

    def sum_(self) -> float:
        """See `Gradients`."""
        self._peers.sum_(self._buffer)
        norm: float = torch.linalg.vector_norm(torch.stack([part.norm() for part in self._parts])).item()
        return norm

    def scale_(self, factor: float) -> None:
        """See `Gradients`."""
        self._buffer.mul_(factor)


class ShardedGradients:
    """Each learner holds its rows of them; those of a few small parameters (`others`) it holds whole."""

    def __init__(self, sharded: ShardedParameters, others: Sequence[nn.Parameter], peers: Peers) -> None:
        self._sharded, self._peers = sharded, peers
        self._others = WholeGradients(others, peers) if others else None

    def zero_(self) -> None:
        """See `Gradients`."""
        self._sharded.zero_gradients()
        if self._others is not None:
            self._others.zero_()

    def sum_(self) -> float:
        """See `Gradients`. The backward passes have summed the sharded ones already."""
        self._sharded.take_gradients()
        pieces = [piece.grad for piece in self._sharded.pieces.values()]
        square = torch.stack([gradient.double().square().sum() for gradient in pieces if gradient is not None]).sum()
        self._peers.sum_(square.view(1))
        norm = 0.0 if self._others is None else self._others.sum_()
        return math.sqrt(square.item() + norm**2)

    def scale_(self, factor: float) -> None:
        """See `Gradients`."""
        for piece in self._sharded.pieces.values():
            assert piece.grad is not None
            piece.grad.mul_(factor)
        if self._others is not None:
            self._others.scale_(factor)


def _one_buffer(parameters: Sequence[nn.Parameter]) -> tuple[Tensor, list[Tensor]]:
    """A flat buffer and its parts, the parameters' gradients."""
    buffer = torch.zeros(sum(p.numel() for p in parameters), dtype=torch.float32, device=parameters[0].device)
    parts = list(buffer.split([p.numel() for p in parameters]))
    for parameter, part in zip(parameters, parts, strict=True):
        parameter.grad = part.view_as(parameter)
    return buffer, parts
