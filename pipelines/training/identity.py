"""What makes a training the one that it is: hashes of its settings, its data and the weights that it starts from.

Equal ones give the same steps, so that a checkpoint of one may be continued by the other. How many workers there are,
and where, is not among them: that moves last bits, and is said where it changes.
"""

from __future__ import annotations

import hashlib
import json
import pickle

import torch
from torch import nn

from pipelines.output.stamp import NUMBERS_VERSION
from pipelines.training.job import Job
from pipelines.training.rows import Rows

_PLACEMENT = {"workers", "gpus_per_worker", "cpus_per_worker", "accelerator"}


def identity(job: Job, model: nn.Module, dtype: torch.dtype) -> dict[str, str]:
    """Hashes by what they are of. `model` is as it was loaded; `dtype` is that of its forward passes."""
    return {
        "settings": _settings_hash(job, dtype),
        "data": _hash([_rows_hash(job.train), _rows_hash(job.validation)]),
        "start weights": _weights_hash(model),
    }


def _settings_hash(job: Job, dtype: torch.dtype) -> str:
    # A pickle of a function is its name, and of a partial also its arguments.
    loss = hashlib.sha256(pickle.dumps(job.loss, protocol=4)).hexdigest()
    training = job.training.model_dump(mode="json", exclude=_PLACEMENT)
    return _hash([NUMBERS_VERSION, training, loss, job.task, job.select, job.seed, str(dtype)])


def _rows_hash(rows: Rows) -> str:
    digest = hashlib.sha256()
    for array in rows.arrays():
        digest.update(f"{array.dtype} {array.shape}\n".encode())
        digest.update(array.data)
    return digest.hexdigest()


def _weights_hash(model: nn.Module) -> str:
    """Of all parameters and of which of them are trained; without a copy of any on a CPU."""
    digest = hashlib.sha256()
    for name, parameter in model.named_parameters():
        digest.update(f"{name} {tuple(parameter.shape)} {parameter.requires_grad}\n".encode())
        digest.update(parameter.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _hash(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
