"""What is published can be fetched, as often as somebody needs it, whichever way it travels, bit by bit."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import ray
import torch

from actors.messages import Weights
from actors.weights.layout import layout_of
from actors.weights.outlet import Outlet, gathered
from actors.weights.publication import Notice, discard_published, fetch
from actors.weights.transports import ObjectStore, SharedFiles, WeightTransport
from allgood.errors import RoleError
from tests.actors import tiny_models
from tests.actors.odd_roles import Odd


def published(transport: WeightTransport, dtype: torch.dtype, *, version: int = 3, part_bytes: int = 20_000) -> Notice:
    """A version of a policy, in several parts."""
    tensors = dict(tiny_models.policy(tie_word_embeddings=True).named_parameters())
    layout, outlet = layout_of(tensors, dtype, part_bytes=part_bytes), Outlet(transport)
    assert len(layout.parts) > 2
    parts = [
        outlet.publish(gathered(entries, tensors.__getitem__, policy_version=version, training="a"), part)
        for part, entries in enumerate(layout.parts)
    ]
    return Notice(tuple(parts))


def assert_is_the_policy(weights: Weights, dtype: torch.dtype) -> None:
    tensors = {
        name: p.detach().to(dtype) for name, p in tiny_models.policy(tie_word_embeddings=True).named_parameters()
    }
    assert weights.arrays.keys() == tensors.keys()
    for name, tensor in tensors.items():
        bits = torch.from_numpy(np.array(weights.arrays[name]))
        assert torch.equal(bits, tensor.view(torch.uint16) if dtype == torch.bfloat16 else tensor)
        assert weights.dtypes[name] == str(dtype).removeprefix("torch.")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("kind", ["object_store", "files"])
def test_a_notice_can_be_fetched_again_and_again_and_holds_every_bit(
    kind: str, dtype: torch.dtype, tmp_path: Path
) -> None:
    notice = published(ObjectStore() if kind == "object_store" else SharedFiles(folder=str(tmp_path)), dtype)
    for _ in range(2):
        weights = fetch(notice)
        assert (weights.policy_version, weights.training) == (3, "a")
        assert_is_the_policy(weights, dtype)


def test_references_are_resolved_by_who_fetches(ray_cluster: None) -> None:
    notice = published(ObjectStore(), torch.bfloat16)
    stored = fetch(Notice(tuple(ray.put(part) for part in notice.parts)))
    assert_is_the_policy(stored, torch.bfloat16)
    assert not any(array.flags.writeable for array in stored.arrays.values())  # they lie in the store


def test_what_the_learner_could_not_publish_is_its_own_sentence_for_who_fetches(ray_cluster: None) -> None:
    def fails() -> None:
        raise RoleError("the disk is full")

    with pytest.raises(RoleError, match=r"\Athe disk is full\Z"):
        fetch(Notice((ray.remote(fails).remote(),)))


def test_parts_of_different_versions_make_no_version() -> None:
    first, *others = published(ObjectStore(), torch.float32).parts
    with pytest.raises(RoleError, match="parts of several versions"):
        fetch(Notice((dataclasses.replace(first, policy_version=2), *others)))


def test_what_files_leave_is_removed_with_their_notice(tmp_path: Path) -> None:
    notice = published(SharedFiles(folder=str(tmp_path / "weights")), torch.float32)
    (tmp_path / "weights" / "other").mkdir()
    discard_published(notice)
    assert [path.name for path in (tmp_path / "weights").iterdir()] == ["other"]  # another training publishes there
    (tmp_path / "weights" / "other").rmdir()
    discard_published(published(SharedFiles(folder=str(tmp_path / "weights")), torch.float32))
    assert not (tmp_path / "weights").exists()


def test_what_was_lost_with_the_learner_needs_no_removal(ray_cluster: None) -> None:
    learner = ray.remote(Odd).options(num_cpus=0.1).remote()
    notice = Notice((learner.die.remote(),))
    with pytest.raises(ray.exceptions.RayActorError):
        ray.get(notice.parts[0])
    discard_published(notice)
