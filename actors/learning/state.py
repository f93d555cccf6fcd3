"""A learner's state on disk: safetensors for tensors, JSON for the rest, no pickle.

weights.safetensors      float32 weights of the policy
optimizer.safetensors    AdamW moments: exp_avg.<name>, exp_avg_sq.<name>, of policy and value head
value_head.safetensors   PPO only
learner.json             version, arm, optimiser step counts, random state
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from allgood.errors import CheckpointError

_MOMENTS = ("exp_avg", "exp_avg_sq")


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


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors (moved to the CPU) as safetensors.

    Raises:
        CheckpointError: The file cannot be written, for example because the disk is full.
    """
    with written(path):
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, path)


def read_tensors(path: Path, targets: Mapping[str, Tensor]) -> None:
    """Copy a safetensors file into `targets`; names and shapes must be exactly theirs.

    Raises:
        CheckpointError: The file is missing or damaged, or holds other tensors.
    """
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"cannot read {str(path)!r}: {error}; use an earlier checkpoint") from error
    if tensors.keys() != targets.keys():
        odd = sorted(tensors.keys() ^ targets.keys())
        raise CheckpointError(
            f"{str(path)!r} belongs to another model: {odd[:3]} are not in both; resume with the model it came from"
        )
    with torch.no_grad():
        for name, target in targets.items():
            if tensors[name].shape != target.shape:
                raise CheckpointError(
                    f"{str(path)!r} belongs to another model: {name!r} has shape {tuple(tensors[name].shape)}, "
                    f"not {tuple(target.shape)}; resume with the model it came from"
                )
            target.copy_(tensors[name])


def write_optimizer(
    path: Path, optimizer: torch.optim.Optimizer, parameters: Mapping[str, nn.Parameter]
) -> dict[str, float]:
    """Write AdamW's moments; returns its step count per parameter, which belongs into JSON."""
    states = {
        name: optimizer.state[parameter] for name, parameter in parameters.items() if parameter in optimizer.state
    }
    write_tensors(path, {f"{moment}.{name}": state[moment] for name, state in states.items() for moment in _MOMENTS})
    return {name: float(state["step"]) for name, state in states.items()}


def read_optimizer(
    path: Path,
    optimizer: torch.optim.Optimizer,
    parameters: Mapping[str, nn.Parameter],
    step_counts: Mapping[str, float],
) -> None:
    """The inverse of `write_optimizer`, into a fresh optimiser of the same parameters."""
    targets = {f"{moment}.{name}": torch.zeros_like(parameters[name]) for name in step_counts for moment in _MOMENTS}
    read_tensors(path, targets)
    for name, count in step_counts.items():
        moments = {moment: targets[f"{moment}.{name}"] for moment in _MOMENTS}
        optimizer.state[parameters[name]] = {"step": torch.tensor(count, dtype=torch.float32), **moments}


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
