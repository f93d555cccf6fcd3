"""What is published can be fetched, as often as somebody needs it."""

from __future__ import annotations

import torch

from actors.weights.publication import ObjectStore
from actors.weights.snapshot import snapshot
from tests.actors import tiny_models


def test_a_notice_of_the_object_store_can_be_fetched_again_and_again() -> None:
    weights = snapshot(tiny_models.policy(), policy_version=3, dtype=torch.float32)
    notice = ObjectStore().publish(weights)
    receivers = (ObjectStore(), ObjectStore())
    assert [receiver.fetch(notice).policy_version for receiver in receivers] == [3, 3]
    assert receivers[0].fetch(notice).arrays.keys() == weights.arrays.keys()
