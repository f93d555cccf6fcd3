"""Checkpoints of a training, by which it goes on after a kill as if there had been none.

`checkpoints/step_000050/` in the training's folder (`pipelines/output/checkpoint_folders.py`) holds

weights.safetensors      what is trained: all weights, or adapters
optimizer.safetensors    AdamW's moments
best.safetensors         the weights of the best moment so far, where that was earlier
random.json              the random state of each worker
metrics.jsonl            the log up to this step
state.json               the step, the best moment, patience, and what makes the training the one that it is

The first worker writes, every worker reads. They are there only while the training is unfinished.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from actors.learning.sharding import piece_of
from actors.learning.state import (
    WEIGHTS,
    Share,
    read_optimizer,
    read_pieces,
    read_values,
    set_random_state,
    write_optimizer,
    write_pieces,
    write_values,
)
from pipelines.output.checkpoint_folders import committed_steps, delete_all_but, seal, step_folder, unsealed
from pipelines.output.files import atomic_path
from pipelines.training.best import Best

_BEST, _RANDOM, _METRICS = "best", "random.json", "metrics.jsonl"
_KEPT = 2  # the last one, and one to fall back on

Parameters = Mapping[str, nn.Parameter]


@dataclass(frozen=True)
class Progress:
    """How far a training is. `last_value` is of the last evaluation, `seconds` is the wall-clock of all its steps."""

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    last_value: float = math.inf
    best: Best = field(default_factory=Best)


@dataclass(frozen=True)
class Trained:
    """What a training changes: parameters by name, and the state of their optimiser."""

    parameters: Parameters
    optimizer: torch.optim.Optimizer


@dataclass(frozen=True)
class Circumstances:
    """With what a training computes. `identity` decides its numbers, `process` and the number of workers last bits.

    `random_states` has one entry per worker.
    """

    identity: Mapping[str, str]
    process: Mapping[str, str | int]
    random_states: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Checkpoint:
    """A verified checkpoint on disk; its tensors are read by `restore`."""

    folder: Path
    state: Mapping[str, Any]
    circumstances: Circumstances

    @property
    def step(self) -> int:
        """Finished steps."""
        return int(self.state["step"])

    @property
    def metrics(self) -> Path:
        """The log as it was."""
        return self.folder / _METRICS


def commit(
    checkpoints: Path, progress: Progress, trained: Trained, circumstances: Circumstances, *, metrics: Path
) -> None:
    """Write the checkpoint of `progress`, with a copy of the log `metrics`, and delete all but the last two.

    Raises:
        AllgoodError: It cannot be written, for example because the disk is full; those before it stand.
    """
    best = progress.best
    with atomic_path(step_folder(checkpoints, progress.step)) as temporary:
        temporary.mkdir()
        pieces = {name: piece_of(parameter) for name, parameter in trained.parameters.items()}
        write_pieces(temporary, WEIGHTS, pieces, Share())
        steps = write_optimizer(temporary, trained.optimizer, _with_pieces(trained.parameters), Share())
        if best.weights and best.step != progress.step:
            write_pieces(temporary, _BEST, {name: piece_of(tensor) for name, tensor in best.weights.items()}, Share())
        write_values(temporary / _RANDOM, {"workers": list(circumstances.random_states)})
        shutil.copyfile(metrics, temporary / _METRICS)
        state = {
            "step": progress.step,
            "tokens": progress.tokens,
            "seconds": progress.seconds,
            "last_value": _finite(progress.last_value),
            "best": {"step": best.step, "value": _finite(best.value), "num_worse_since": best.num_worse_since},
            "optimizer_steps": steps,
        }
        seal(
            temporary,
            {"state": state, "identity": dict(circumstances.identity), "process": dict(circumstances.process)},
        )
    # Those of later steps are damaged ones that were passed over.
    kept = [step for step in committed_steps(checkpoints) if step <= progress.step][-_KEPT:]
    delete_all_but(checkpoints, kept)


def load(folder: Path) -> Checkpoint:
    """Verify a checkpoint and read all but its tensors.

    Raises:
        CheckpointError: A file is missing or damaged; names it.
    """
    content = unsealed(folder)
    random_states = read_values(folder / _RANDOM)["workers"]
    circumstances = Circumstances(content["identity"], content["process"], random_states)
    return Checkpoint(folder, content["state"], circumstances)


def restore(checkpoint: Checkpoint, trained: Trained, *, rank: int) -> Progress:
    """Put parameters, optimiser and random state of this worker back to where they were; the progress then.

    A worker that was not there keeps its random state.

    Raises:
        CheckpointError: The tensors are of another model.
    """
    folder, state, parameters = checkpoint.folder, checkpoint.state, trained.parameters
    read_pieces(folder, WEIGHTS, {name: piece_of(parameter) for name, parameter in parameters.items()})
    read_optimizer(folder, trained.optimizer, _with_pieces(parameters), state["optimizer_steps"])
    if rank < len(checkpoint.circumstances.random_states):
        set_random_state(checkpoint.circumstances.random_states[rank])
    return Progress(
        step=state["step"],
        tokens=state["tokens"],
        seconds=state["seconds"],
        last_value=_number(state["last_value"]),
        best=_best(checkpoint, parameters),
    )


def _best(checkpoint: Checkpoint, parameters: Parameters) -> Best:
    step, value, num_worse_since = (checkpoint.state["best"][key] for key in ("step", "value", "num_worse_since"))
    if step == 0:
        return Best()  # nothing was evaluated yet
    weights = {name: parameter.detach().cpu().clone() for name, parameter in parameters.items()}
    if step != checkpoint.step:
        read_pieces(checkpoint.folder, _BEST, {name: piece_of(tensor) for name, tensor in weights.items()})
    return Best(step, _number(value), num_worse_since, weights)


def _with_pieces(parameters: Parameters) -> dict[str, tuple[nn.Parameter, Any]]:
    return {name: (parameter, piece_of(parameter)) for name, parameter in parameters.items()}


def _finite(value: float) -> float | None:
    """JSON has no infinity, which stands for an evaluation that has not been."""
    return value if math.isfinite(value) else None


def _number(value: float | None) -> float:
    return math.inf if value is None else value
