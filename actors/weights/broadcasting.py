"""The two ends of a broadcast: a header that says which version comes, then every tensor in the order of the layout."""

from __future__ import annotations

import torch
from torch import Tensor

from actors.messages import Weights
from actors.weights.arrays import NAMES, array_view, tensor_view
from actors.weights.channel import Channel
from actors.weights.layout import WeightLayout

_TRAINING_BYTES = 32  # of a training's name, which is a uuid in hexadecimal


def send_header(channel: Channel, *, policy_version: int, training: str) -> None:
    """The learner's first message of a version."""
    name = training.encode().ljust(_TRAINING_BYTES)
    channel.broadcast_(torch.tensor([policy_version, *name], dtype=torch.int64))


def send(channel: Channel, weights: Weights) -> None:
    """The learner's tensors of one part."""
    for name, array in weights.arrays.items():
        channel.broadcast_(tensor_view(array, weights.dtypes[name]))


def receive(channel: Channel, layout: WeightLayout) -> Weights:
    """A whole version, in memory of its own.

    Raises:
        RoleError: The learner or another member was lost; nothing of what came may be used.
    """
    header = torch.zeros(1 + _TRAINING_BYTES, dtype=torch.int64)
    channel.broadcast_(header)
    tensors: dict[str, Tensor] = {}
    for entry in layout.entries:
        tensors[entry.name] = torch.empty(entry.shape, dtype=entry.dtype)
        channel.broadcast_(tensors[entry.name])
    version, *name = header.tolist()
    arrays = {name: array_view(tensor) for name, tensor in tensors.items()}
    dtypes = {name: NAMES[tensor.dtype] for name, tensor in tensors.items()}
    return Weights(version, arrays, dtypes, bytes(name).decode().strip())
