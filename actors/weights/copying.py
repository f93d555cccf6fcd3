"""Copying a published weight version into a model's own parameters."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from actors.messages import Weights
from actors.weights.arrays import tensor_view
from actors.weights.published import published_parameters
from allgood.errors import RoleError


def copy_weights(weights: Weights, model: nn.Module) -> None:
    """Copy `weights` into `model`, which keeps no view of the arrays (they may live in an object store).

    Every parameter must be there, or every one of the adapters that the model has; tied parameters may come under any
    of their names. Nothing is copied unless everything fits.

    Raises:
        RoleError: A name is unknown or missing, or a shape differs.
    """
    targets = model.state_dict()
    unknown = sorted(weights.arrays.keys() - targets.keys())
    given = {targets[name].data_ptr() for name in weights.arrays.keys() & targets.keys()}
    missing = sorted(name for name, value in published_parameters(model).items() if value.data_ptr() not in given)
    if unknown or missing:
        raise RoleError(
            f"weight version {weights.policy_version} does not fit this policy: "
            f"unknown names {unknown[:3]}, missing names {missing[:3]}; publisher and receiver must load the same model"
        )
    for name, array in weights.arrays.items():
        if tuple(array.shape) != tuple(targets[name].shape):
            raise RoleError(
                f"weight version {weights.policy_version} does not fit this policy: {name!r} has shape "
                f"{tuple(array.shape)} there and {tuple(targets[name].shape)} here"
            )
    with torch.no_grad():
        for name, array in weights.arrays.items():
            # A copy, because arrays from an object store are read-only, which torch tensors cannot be.
            targets[name].copy_(tensor_view(np.array(array), weights.dtypes[name]))
