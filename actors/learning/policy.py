"""The policy that a learner trains: all of its weights or adapters on them, whole or this learner's rows.

`parameters` are what the optimiser steps on, by the names under which they are published and saved. Whatever needs
whole tensors of a sharded policy (`whole`, `save_pretrained`) is a collective operation of all learners.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedModel

from actors.learning.adapters import (
    add_adapters,
    initial_adapters,
    merged_tensors,
    without_adapters,
)
from actors.learning.blocks import recompute_in_backward
from actors.learning.gradients import Gradients, ShardedGradients, WholeGradients
from actors.learning.group import Peers
from actors.learning.sharding import Piece, ShardedParameters, piece_of, shard_model, whole
from actors.learning.specs import LearnerSpec
from actors.weights.layout import WeightLayout, layout_of
from actors.weights.published import published_parameters
from allgood.errors import RoleError
from allgood.scorers.models import load_policy

Forward = Callable[..., Any]
"""A model's forward pass."""


class TrainedPolicy:
    """A policy with its trained parameters. float32; passes may run under autocast."""

    def __init__(self, spec: LearnerSpec, device: torch.device) -> None:
        self._spec, self._device = spec, device
        self._is_loaded_elsewhere = spec.is_sharded and device.type != "cpu"  # it need not fit onto the device
        where = torch.device("cpu") if spec.is_sharded else device
        self.model = load_policy(spec.model, dtype=torch.float32, device=where)
        self.hidden_size: int = self.model.get_output_embeddings().in_features
        if spec.lora is not None:
            add_adapters(self.model, spec.lora)
        if spec.gradient_checkpointing:
            recompute_in_backward(self.model)
        self._trained = self._trained_parameters()
        self._sharded: ShardedParameters | None = None
        self._initial: dict[str, Tensor] | None = None

    @property
    def is_sharded(self) -> bool:
        """Whether this learner holds its rows only."""
        return self._sharded is not None

    @property
    def parameters(self) -> dict[str, nn.Parameter]:
        """What is trained, as this learner holds it."""
        return self._trained if self._sharded is None else self._sharded.pieces

    def pieces(self) -> dict[str, Piece]:
        """The same with their places in the whole tensors."""
        return {name: piece_of(parameter) for name, parameter in self._trained.items()}

    def shard(self) -> None:
        """Spread the policy over the learners that have met; only before the first `restore`.

        Raises:
            RoleError: It is spread over another group already.
        """
        if self._sharded is not None or self._initial is not None:
            raise RoleError("learners that share one policy meet once, at their start; start all of them anew")
        shard_model(self.model, self._device)
        self._trained = self._trained_parameters()
        self._sharded = ShardedParameters(self._trained)

    def restore(self, seed: int) -> None:
        """Back to pi_0. Adapters get fresh values of this seed, the same on every learner."""
        if self._is_loaded_elsewhere and not self.is_sharded:  # a single learner
            nn.Module.to(self.model, self._device)
        if self._spec.lora is not None:
            shapes = {name: tuple(parameter.shape) for name, parameter in self._trained.items()}
            values = dict(initial_adapters(shapes, seed))
            self._initial = {}
        elif self._initial is None:
            values = self._initial = {name: piece.tensor.to("cpu", copy=True) for name, piece in self.pieces().items()}
        else:
            values = self._initial
        with torch.no_grad():
            for name, piece in self.pieces().items():
                rows = values[name]
                if rows.shape != piece.tensor.shape:
                    rows = rows[piece.start : piece.start + len(piece.tensor)]
                piece.tensor.copy_(rows)

    def gradients(self, others: list[nn.Parameter], peers: Peers) -> Gradients:
        """Those of the trained parameters and of `others`, which every learner holds whole."""
        if self._sharded is None:
            return WholeGradients([*self._trained.values(), *others], peers)
        return ShardedGradients(self._sharded, others, peers)

    def pi_0(self, dtype: torch.dtype) -> Forward:
        """The forward pass of pi_0: that without adapters, or of a copy in the reference policy's dtype."""
        if self._spec.lora is not None:
            return self._forward_without_adapters
        where = torch.device("cpu") if self.is_sharded else self._device
        model = load_policy(self._spec.model, dtype=dtype, device=where).requires_grad_(False)
        if self.is_sharded:
            shard_model(model, self._device)
        return model

    def layout(self, dtype: torch.dtype) -> WeightLayout:
        """What is published of a version, in `dtype`."""
        return layout_of(self._trained, dtype)

    def whole(self, name: str) -> Tensor:
        """All of a trained parameter."""
        return whole(self._trained[name])

    def save_pretrained(self, folder: Path, *, is_writer: bool) -> None:
        """Write a plain model in float32 that computes the same, adapters merged in."""
        if self._spec.lora is None and not self.is_sharded:
            if is_writer:
                self.model.save_pretrained(folder)
            return
        state = self.model.state_dict()
        tensors = {}
        for name, tensor in merged_tensors(self.model, lambda name: whole(state[name])):
            if is_writer:
                tensors[name] = tensor.to("cpu")
        if is_writer:
            with torch.device("meta"):  # its class and configuration, without weights
                plain: PreTrainedModel = AutoModelForCausalLM.from_config(self.model.config)
            plain.generation_config = self.model.generation_config
            plain.save_pretrained(folder, state_dict=tensors)

    def _trained_parameters(self) -> dict[str, nn.Parameter]:
        return published_parameters(self.model)

    def _forward_without_adapters(self, **inputs: Any) -> Any:
        with without_adapters(self.model):
            return self.model(**inputs)
