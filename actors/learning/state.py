"""A learner's state on disk: safetensors for tensors, JSON for the rest, no pickle.

weights.safetensors      float32 weights of the policy that are trained: all of them, or adapters
optimizer.safetensors    AdamW moments: exp_avg.<name>, exp_avg_sq.<name>, of policy and value head
value_head.safetensors   PPO only
learner.json             version, arm, optimiser step counts, random state

Learners that hold a policy between them write a file each, `weights.00001-of-00002.safetensors`, with the place of
their rows in its metadata. Whatever wrote them, any number of learners reads files with the rows that it needs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from actors.learning.sharding import Piece
from allgood.errors import CheckpointError

_MOMENTS = ("exp_avg", "exp_avg_sq")
WEIGHTS, OPTIMIZER, VALUE_HEAD = "weights", "optimizer", "value_head"
_PLACES = "rows"  # metadata of a shared file: by tensor, the first row here, and the shape of the whole

Trained = tuple[nn.Parameter, Piece]
"""What the optimiser steps on, and its place in the whole parameter."""


@dataclass(frozen=True)
class Share:
    """Which of the files of one state a learner writes."""

    rank: int = 0
    size: int = 1

    def file(self, name: str) -> str:
        """Its file's name."""
        part = f".{self.rank + 1:05d}-of-{self.size:05d}" if self.size > 1 else ""
        return f"{name}{part}.safetensors"

    @staticmethod
    def count(path: Path) -> int:
        """How many files there are alongside one."""
        _, _, size = path.name.removesuffix(".safetensors").rpartition("-of-")
        return int(size) if size.isdigit() else 1


@dataclass(frozen=True)
class _StoredRows:
    """Rows of a tensor in an open file: the first one's index, and the shape of the whole."""

    file: Any
    start: int
    shape: tuple[int, ...]


@contextmanager
def written(path: Path) -> Iterator[None]:
    """Turn what the file system refuses while `path` is written into a CheckpointError."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        message = f"cannot write {str(path)!r}: {error}; free some space or choose another folder"
        raise CheckpointError(message) from error


def make_folder(folder: Path) -> None:
    """Make a folder if it is missing."""
    with written(folder):
        folder.mkdir(parents=True, exist_ok=True)


def write_pieces(folder: Path, name: str, pieces: Mapping[str, Piece], share: Share) -> None:
    """Write this learner's rows of tensors (moved to the CPU) as safetensors.

    Raises:
        CheckpointError: The file cannot be written, for example because the disk is full.
    """
    tensors = {key: piece.tensor.detach().cpu().contiguous() for key, piece in pieces.items()}
    places = {key: [piece.start, *piece.shape] for key, piece in pieces.items()}
    with written(folder / share.file(name)):
        save_file(tensors, folder / share.file(name), {_PLACES: json.dumps(places)} if share.size > 1 else None)


def read_pieces(folder: Path, name: str, targets: Mapping[str, Piece]) -> None:
    """Fill `targets` from the files called `name`, whoever wrote them; names and shapes must be exactly theirs.

    Raises:
        CheckpointError: A file is missing or damaged, or they hold other tensors.
    """
    with ExitStack() as stack, _readable(folder / f"{name}.safetensors"):
        stored = _stored(stack, folder, name)
        if stored.keys() != targets.keys():
            odd = sorted(stored.keys() ^ targets.keys())
            raise CheckpointError(
                f"{str(folder / f'{name}.safetensors')!r} belongs to another model: {odd[:3]} are not in both; resume "
                "with the model it came from"
            )
        with torch.no_grad():
            for key, target in targets.items():
                _fill(folder / f"{name}.safetensors", key, target, stored[key])


def _stored(stack: ExitStack, folder: Path, name: str) -> dict[str, list[_StoredRows]]:
    """By tensor, its rows in all files."""
    whole = folder / f"{name}.safetensors"
    paths = [whole] if whole.exists() else sorted(folder.glob(f"{name}.*-of-*.safetensors"))
    if not paths or len(paths) != Share.count(paths[0]):
        raise CheckpointError(
            f"{folder} has {len(paths)} files of {name!r}, and needs all of them; use an earlier checkpoint"
        )
    found: dict[str, list[_StoredRows]] = {}
    for path in paths:
        file = stack.enter_context(safe_open(path, framework="pt"))
        places = json.loads((file.metadata() or {}).get(_PLACES, "{}"))
        for key in file.keys():  # noqa: SIM118  # it is no dict
            start, *shape = places.get(key, [0, *file.get_slice(key).get_shape()])
            found.setdefault(key, []).append(_StoredRows(file, start, tuple(shape)))
    return found


def _fill(path: Path, key: str, target: Piece, stored: Sequence[_StoredRows]) -> None:
    if any(rows.shape != target.shape for rows in stored):
        raise CheckpointError(
            f"{str(path)!r} belongs to another model: {key!r} has shape {stored[0].shape}, "
            f"not {target.shape}; resume with the model it came from"
        )
    if not target.shape:
        target.tensor.copy_(stored[0].file.get_tensor(key))
        return
    missing = len(target.tensor)
    for rows in stored:
        slices = rows.file.get_slice(key)
        first, end = max(rows.start, target.start), min(rows.start + slices.get_shape()[0], target.end)
        if first < end:
            values = slices[first - rows.start : end - rows.start]
            target.tensor[first - target.start : end - target.start].copy_(values)
            missing -= end - first
    if missing:
        raise CheckpointError(f"{str(path)!r} lacks {missing} rows of {key!r}; use an earlier checkpoint")


def write_optimizer(
    folder: Path, optimizer: torch.optim.Optimizer, trained: Mapping[str, Trained], share: Share
) -> dict[str, float]:
    """Write AdamW's moments; returns its step count per parameter, which belongs into JSON."""
    states = {name: (optimizer.state[p], piece) for name, (p, piece) in trained.items() if p in optimizer.state}
    moments = {
        f"{moment}.{name}": replace(piece, tensor=state[moment])
        for name, (state, piece) in states.items()
        for moment in _MOMENTS
    }
    write_pieces(folder, OPTIMIZER, moments, share)
    return {name: float(state["step"]) for name, (state, _) in states.items()}


def read_optimizer(
    folder: Path,
    optimizer: torch.optim.Optimizer,
    trained: Mapping[str, Trained],
    step_counts: Mapping[str, float],
) -> None:
    """The inverse of `write_optimizer`, into a fresh optimiser of the same parameters."""
    targets = {
        f"{moment}.{name}": replace(trained[name][1], tensor=torch.zeros_like(trained[name][0]))
        for name in step_counts
        for moment in _MOMENTS
    }
    read_pieces(folder, OPTIMIZER, targets)
    for name, count in step_counts.items():
        parameter = trained[name][0]
        # The kernel for all arithmetic at once wants the count where the parameter is, the plain one on the CPU.
        device = parameter.device if optimizer.defaults["fused"] else torch.device("cpu")
        moments = {moment: targets[f"{moment}.{name}"].tensor for moment in _MOMENTS}
        optimizer.state[parameter] = {"step": torch.tensor(count, dtype=torch.float32, device=device), **moments}


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, SafetensorError, ValueError) as error:
        raise CheckpointError(f"cannot read {str(path)!r}: {error}; use an earlier checkpoint") from error


def write_values(path: Path, values: Mapping[str, Any]) -> None:
    """Write plain values as JSON."""
    with written(path):
        path.write_text(json.dumps(values, indent=1), encoding="utf-8")


def read_values(path: Path) -> dict[str, Any]:
    """Read plain values from JSON."""
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"cannot read {str(path)!r}: {error}; use an earlier checkpoint") from error
    return values


def random_state() -> dict[str, Any]:
    """The state of torch's generators as lists of numbers."""
    cuda = [state.tolist() for state in torch.cuda.get_rng_state_all()] if torch.cuda.is_available() else []
    return {"cpu": torch.get_rng_state().tolist(), "cuda": cuda}


def set_random_state(state: Mapping[str, Any]) -> None:
    """The inverse of `random_state`; GPU states are taken over only where the number of GPUs is the same."""
    torch.set_rng_state(torch.tensor(state["cpu"], dtype=torch.uint8))
    if torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([torch.tensor(values, dtype=torch.uint8) for values in state["cuda"]])
