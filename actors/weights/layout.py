"""What a weight version consists of: tensors by name, and the parts in which they are published.

A version is gathered, copied and stored part by part, so that whoever publishes never holds all of it a second time.
The layout depends on the model alone and is the same for every version of a training.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

PART_BYTES = 64 * 2**20
"""A part is closed before it would exceed this; a larger tensor is a part of its own."""


@dataclass(frozen=True)
class TensorEntry:
    """One tensor as it travels."""

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def num_bytes(self) -> int:
        """Its size."""
        return math.prod(self.shape) * self.dtype.itemsize


@dataclass(frozen=True)
class WeightLayout:
    """The tensors of a version, in the order in which they travel, by part.

    >>> entries = [TensorEntry(name, (2,), torch.float32) for name in "abc"]
    >>> [[entry.name for entry in part] for part in parted(entries, part_bytes=16).parts]
    [['a', 'b'], ['c']]
    """

    parts: tuple[tuple[TensorEntry, ...], ...]

    @property
    def entries(self) -> tuple[TensorEntry, ...]:
        """All tensors."""
        return tuple(entry for part in self.parts for entry in part)


def layout_of(tensors: Mapping[str, Tensor], dtype: torch.dtype, *, part_bytes: int = PART_BYTES) -> WeightLayout:
    """The layout of these tensors, in their order, when they travel in `dtype`."""
    entries = (TensorEntry(name, tuple(tensor.shape), dtype) for name, tensor in tensors.items())
    return parted(entries, part_bytes=part_bytes)


def parted(entries: Iterable[TensorEntry], *, part_bytes: int) -> WeightLayout:
    """Consecutive entries in parts of at most `part_bytes`; at least one part."""
    parts: list[list[TensorEntry]] = [[]]
    size = 0
    for entry in entries:
        if parts[-1] and size + entry.num_bytes > part_bytes:
            parts.append([])
            size = 0
        parts[-1].append(entry)
        size += entry.num_bytes
    return WeightLayout(tuple(map(tuple, parts)))
