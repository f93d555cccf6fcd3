"""Whole alignments with learners that hold one policy between them, adapters, and weights that are broadcast."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from actors.cluster.cast import spawn
from pipelines.alignment.align import resume, run_align
from pipelines.cast.request import align_request
from pipelines.config.run import RunConfig
from pipelines.references.build import build_references
from tests.pipelines.tiny_run import assert_same_run, final_weights, logged_rows, make_base, tiny_config


def large(folder: Path, name: str, *, lora: bool) -> RunConfig:
    config = tiny_config(folder, name)
    sections = config.model_dump(mode="json")
    learner = sections["placement"]["learner"] | {"replicas": 2}
    placement = sections["placement"] | {"learner": learner, "learners": "shard", "weights": {"kind": "broadcast"}}
    align = sections["align"] | {"gradient_checkpointing": True, "lora": {"rank": 2} if lora else None}
    return RunConfig.model_validate(sections | {"placement": placement, "align": align})


@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.parametrize("lora", [False, True], ids=["full_weights", "lora"])
def test_a_run_with_two_sharded_learners_ends_as_with_one_and_resumes_to_the_same_bits(
    tmp_path: Path, lora: bool
) -> None:
    make_base(tmp_path)
    config, again = large(tmp_path, "two", lora=lora), large(tmp_path, "again", lora=lora)
    with spawn(align_request(config)) as cast:
        build_references(config, cast)
        run_align(config, cast)
        run_align(again, cast)
        for step in (5, 6):
            shutil.rmtree(again.folder / "checkpoints" / f"step_{step:06d}", ignore_errors=True)
        shutil.rmtree(again.folder / "model")
        assert (
            again.folder / "checkpoints" / "step_000004" / "learner" / "weights.00002-of-00002.safetensors"
        ).exists()
        resume(again.folder, cast)
    assert_same_run(config, again)

    one = tiny_config(tmp_path, "one")
    one = one.model_copy(update={"align": config.align})
    with spawn(align_request(one)) as cast:
        run_align(one, cast)
    first, second = final_weights(config), final_weights(one)
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        torch.testing.assert_close(tensor, second[name], rtol=0, atol=1e-3)
    for two, alone in zip(logged_rows(config), logged_rows(one), strict=True):
        assert two["kl_k1_sum"] == pytest.approx(alone["kl_k1_sum"], abs=1e-3)
    assert logged_rows(config)[0]["kl_k1_sum"] == pytest.approx(0.0, abs=1e-4)
