"""Weights travel as numpy and arrive bit by bit."""

from __future__ import annotations

import numpy as np
import pytest
import ray
import torch

from actors.weights.copying import copy_weights
from tests.actors import tiny_models
from tests.actors.snapshots import snapshot


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_published_weights_arrive_bitwise(dtype: torch.dtype) -> None:
    sender, receiver = tiny_models.policy(seed=1), tiny_models.policy(seed=2).to(dtype)
    copy_weights(snapshot(sender, policy_version=3, dtype=dtype), receiver)
    for name, parameter in sender.named_parameters():
        assert torch.equal(receiver.get_parameter(name), parameter.to(dtype))


def test_bfloat16_travels_as_uint16_of_half_the_size() -> None:
    weights = snapshot(tiny_models.policy(), policy_version=0, dtype=torch.bfloat16)
    assert {array.dtype for array in weights.arrays.values()} == {np.dtype(np.uint16)}
    assert set(weights.dtypes.values()) == {"bfloat16"}


def test_tied_weights_travel_once() -> None:
    tied = tiny_models.policy(tie_word_embeddings=True)
    weights = snapshot(tied, policy_version=0, dtype=torch.float32)
    assert "lm_head.weight" not in weights.arrays
    receiver = tiny_models.policy(seed=5, tie_word_embeddings=True)
    copy_weights(weights, receiver)
    assert torch.equal(receiver.get_output_embeddings().weight, tied.get_output_embeddings().weight)


@pytest.mark.filterwarnings("error")
def test_receiver_owns_what_it_copied_from_the_object_store(ray_cluster: None) -> None:
    reference = ray.put(snapshot(tiny_models.policy(seed=1), policy_version=1, dtype=torch.float32))
    receiver = tiny_models.policy(seed=2)
    copy_weights(ray.get(reference), receiver)
    with torch.no_grad():
        for parameter in receiver.parameters():
            parameter.zero_()
    again = ray.get(reference)
    assert not any(array.flags.writeable for array in again.arrays.values())
    assert all(np.abs(array).max() > 0 for array in again.arrays.values())
