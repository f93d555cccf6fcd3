"""Copying published weights into a worker's own parameters."""

import numpy as np
import pytest
import torch

from actors.messages import Weights
from actors.weights.copying import copy_weights
from allgood.errors import RoleError
from tests.actors import tiny_models
from tests.actors.snapshots import snapshot


def weights_of(model, version=3):
    return snapshot(model, policy_version=version, dtype=torch.float32)


@pytest.mark.parametrize("tied", [False, True])
def test_a_published_policy_arrives_exactly(tied):
    source = tiny_models.policy(seed=1, tie_word_embeddings=tied)
    target = tiny_models.policy(seed=2, tie_word_embeddings=tied)
    copy_weights(weights_of(source), target)
    for name, value in source.state_dict().items():
        assert torch.equal(value, target.state_dict()[name])


def test_no_view_of_the_published_arrays_is_kept():
    weights, target = weights_of(tiny_models.policy(seed=1)), tiny_models.policy(seed=2)
    copy_weights(weights, target)
    before = {name: value.clone() for name, value in target.state_dict().items()}
    for array in weights.arrays.values():
        array.fill(7)
    assert all(torch.equal(value, before[name]) for name, value in target.state_dict().items())


def test_read_only_arrays_are_copied_without_a_warning(recwarn):
    weights, target = weights_of(tiny_models.policy(seed=1)), tiny_models.policy(seed=2)
    for array in weights.arrays.values():
        array.setflags(write=False)
    copy_weights(weights, target)
    assert not [warning for warning in recwarn if "writ" in str(warning.message)]


def test_bfloat16_travels_as_uint16():
    source, target = tiny_models.policy(seed=1).to(torch.bfloat16), tiny_models.policy(seed=2).to(torch.bfloat16)
    copy_weights(snapshot(source, policy_version=1, dtype=torch.bfloat16), target)
    assert all(torch.equal(value, target.state_dict()[name]) for name, value in source.state_dict().items())


def test_unknown_missing_and_misshapen_weights_are_refused_and_change_nothing():
    weights, target = weights_of(tiny_models.policy(seed=1)), tiny_models.policy(seed=2)
    before = {name: value.clone() for name, value in target.state_dict().items()}
    first = next(iter(weights.arrays))
    fewer = {name: array for name, array in weights.arrays.items() if name != first}
    wrong = {
        f"missing names .*{first}": fewer,
        "unknown names .*'extra'": weights.arrays | {"extra": np.zeros(2, np.float32)},
        "has shape": weights.arrays | {first: np.zeros((3, 2), np.float32)},
    }
    for message, arrays in wrong.items():
        with pytest.raises(RoleError, match=message):
            copy_weights(Weights(3, arrays, dict.fromkeys(arrays, "float32")), target)
        assert all(torch.equal(value, before[name]) for name, value in target.state_dict().items())
