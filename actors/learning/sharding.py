"""A model whose parameters are spread over the learners (FSDP2): each keeps a piece of every one, split by rows.

A block's whole parameters are there only while the block computes; gradients are summed into pieces during the backward
pass. Every pass is therefore a collective operation: all learners make the same number of passes, in the same order.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor
from transformers import PreTrainedModel

from actors.learning.blocks import blocks


def shard_model(model: PreTrainedModel, device: torch.device) -> None:
    """Spread a model over the learners that have met, block by block, so that `device` never holds all of it.

    Raises:
        ModelError: The model has no blocks.
    """
    mesh = init_device_mesh(device.type, (dist.get_world_size(),))
    for module in (*blocks(model), model):
        # The root too gives its whole parameters back after each pass: none may be left over when weights change.
        fully_shard(module, mesh=mesh, reshard_after_forward=True)
    for module in model.modules():
        if isinstance(module, FSDPModule):
            # Gradients are summed, as the loss is divided by all rows already; gloo cannot divide while it sums.
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)


@dataclass(frozen=True)
class Piece:
    """The rows of a tensor that this learner holds, which share its memory; all of them where nothing is sharded.

    `start` is the first row's index in the whole tensor, of which `shape` is the shape.
    """

    tensor: Tensor
    start: int
    shape: tuple[int, ...]

    @property
    def end(self) -> int:
        """One beyond the last row's index."""
        return self.start + len(self.tensor)


def piece_of(tensor: Tensor) -> Piece:
    """What this learner holds of a tensor."""
    if not isinstance(tensor, DTensor):
        return Piece(tensor.detach(), 0, tuple(tensor.shape))
    local = tensor.to_local().detach()
    rows_each = -(-tensor.shape[0] // tensor.device_mesh.size())
    start = min(rows_each * tensor.device_mesh.get_local_rank(), tensor.shape[0])
    return Piece(local, start, tuple(tensor.shape))


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor; a collective operation where it is sharded."""
    if not isinstance(tensor, DTensor):
        return tensor.detach()
    full: Tensor = tensor.full_tensor()
    return full.detach()


class ShardedParameters:
    """Pieces of a sharded model's trained parameters, as parameters of their own, which an optimiser can step on.

    They share memory with the model's, so that the next pass gathers what the step has made of them.
    """

    def __init__(self, parameters: dict[str, nn.Parameter]) -> None:
        self._sharded = parameters
        self.pieces = {name: nn.Parameter(piece_of(parameter).tensor) for name, parameter in parameters.items()}

    def zero_gradients(self) -> None:
        """Forget the gradients of the last step."""
        for parameter in self._sharded.values():
            parameter.grad = None

    def take_gradients(self) -> None:
        """Give every piece its rows of the gradient that the backward passes have summed over the learners."""
        for name, piece in self.pieces.items():
            gradient = self._sharded[name].grad
            # A parameter that no pass has used has a gradient of 0, as without sharding.
            piece.grad = torch.zeros_like(piece) if gradient is None else piece_of(gradient).tensor
