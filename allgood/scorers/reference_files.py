"""Files of reference points and of heads that predict them, as an exported reward holds them: safetensors, no pickle.

A reference file has r_ref of each prompt, `values` [prompts] float64, under the first 8 bytes of the SHA-256 of the
prompt's text, `prompt_ids` [prompts, 8] uint8; where the transform needs them also `draws` [prompts, draws] float32,
rewards of samples of pi_0. Everything is in the units of the raw reward.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save_file
from safetensors.torch import save_file as save_tensors

from allgood.errors import ReferenceTableError
from allgood.reference_head import ReferenceHead

FloatRow = NDArray[np.float32]


@dataclass(frozen=True)
class References:
    """r_ref by prompt id, raw; `draws` are rewards of pi_0 samples, empty where no transform needs them."""

    values: Mapping[str, float]
    draws: Mapping[str, FloatRow] = field(default_factory=dict)


def save_references(references: References, path: Path) -> None:
    """Write a reference file."""
    ids = list(references.values)
    tensors: dict[str, NDArray[np.generic]] = {
        "prompt_ids": np.frombuffer(bytes.fromhex("".join(ids)), dtype=np.uint8).reshape(len(ids), 8),
        "values": np.array(list(references.values.values()), dtype=np.float64),
    }
    if references.draws:
        tensors["draws"] = np.stack([references.draws[prompt_id] for prompt_id in ids]).astype(np.float32)
    save_file(tensors, path)


def load_references(path: str | Path) -> References:
    """Read a reference file.

    Raises:
        ReferenceTableError: It is missing or no reference file.
    """
    try:
        tensors = load_file(path)
        ids = [row.tobytes().hex() for row in tensors["prompt_ids"]]
        values = dict(zip(ids, tensors["values"].tolist(), strict=True))
        draws = dict(zip(ids, tensors["draws"], strict=True)) if "draws" in tensors else {}
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise ReferenceTableError(
            f"{path} is no file of reference points ({error}); export the rewards again"
        ) from error
    return References(values, draws)


def save_head(head: ReferenceHead, path: Path) -> None:
    """Write a head with what it needs to be built again: its number of features and hidden units."""
    widths = [layer.in_features for layer in head.layers if isinstance(layer, torch.nn.Linear)]
    shape = {"num_features": widths[0], "num_hidden": widths[1] if len(widths) > 1 else 0}
    tensors = {name: tensor.contiguous() for name, tensor in head.state_dict().items()}
    save_tensors(tensors, path, metadata={"shape": json.dumps(shape)})


def load_head(path: str | Path) -> ReferenceHead:
    """Read a head.

    Raises:
        ReferenceTableError: It is missing or no head.
    """
    try:
        with safe_open(path, framework="pt") as file:
            shape = json.loads(file.metadata()["shape"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # it is no mapping
        head = ReferenceHead(shape["num_features"], num_hidden=shape["num_hidden"])
        head.load_state_dict(tensors)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ReferenceTableError(
            f"{path} is no head that predicts references ({error}); export the rewards again"
        ) from error
    return head.eval()
