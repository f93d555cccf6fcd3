"""One of two learners that share a policy runs out of memory: all go back to the last checkpoint, and on in halves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import ray
import torch

from actors.cluster.cast import Cast
from actors.learner import Learner
from allgood.errors import TrainingError
from pipelines.alignment.align import resume, run_align
from pipelines.alignment.loop import Step
from pipelines.alignment.watching import Watch
from pipelines.config.run import RunConfig
from pipelines.output.metrics_log import MetricsLog
from tests.pipelines.tiny_run import cast_on_base, final_weights, logged_rows, make_base, tiny_config

pytestmark = pytest.mark.slow

NUM_ROWS = 6  # of each learner's share: two prompts of three samples


def sharded(folder: Path, name: str) -> RunConfig:
    config = tiny_config(folder, name)
    sections: dict[str, Any] = config.model_dump(mode="json")
    sections["placement"]["learner"]["replicas"] = 2
    sections["placement"]["learners"] = "shard"
    return RunConfig.model_validate(sections)


def out_of_memory_above(learner: Learner, num_rows: int) -> None:
    def refuse(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        if len(inputs[0]) > num_rows:
            raise torch.OutOfMemoryError("CUDA out of memory")

    learner._model.model.layers[-1].register_forward_pre_hook(refuse)


def short_of_memory(cast: Cast, num_rows: dict[int, int]) -> Watch:
    """After the steps that are keys the second learner can pass no more rows than their values."""

    def observe(step: Step) -> None:
        if step.state.step in num_rows:
            learner = cast.handles("learner")[1]
            ray.get(learner.__ray_call__.remote(out_of_memory_above, num_rows[step.state.step]), timeout=60)

    return Watch(None, observe)


def test_a_run_goes_on_in_halves_once_and_then_ends_with_what_to_do(
    tmp_path: Path, ray_cluster: None, capsys: pytest.CaptureFixture[str]
) -> None:
    make_base(tmp_path)
    whole, halved = sharded(tmp_path, "whole"), sharded(tmp_path, "halved")
    with cast_on_base(whole) as cast:
        run_align(whole, cast)
        with pytest.raises(
            TrainingError, match=r"half of an earlier one already; start again with a lower align\.micro"
        ):
            run_align(halved, cast, watch=short_of_memory(cast, {3: NUM_ROWS - 1, 5: 0}))
        said = capsys.readouterr().out
        assert "going back to step 3, the last whole checkpoint" in said
        [fault] = MetricsLog(halved.folder / "faults.jsonl").read()
        assert (fault["role"], fault["restarted"]) == ("learner", True)
        assert "ran out of memory on learner 1 (CUDA out of memory)" in fault["reason"]
        before, after = logged_rows(whole), logged_rows(halved)
        assert [row["step"] for row in after] == [1, 2, 3, 4, 5]
        assert after[0]["learner.loss"] == before[0]["learner.loss"]
        for ours, theirs in zip(after, before, strict=False):
            assert ours["learner.gradient_norm"] == pytest.approx(theirs["learner.gradient_norm"], rel=1e-3)
        cast.restart("learner")  # with memory again
        resume(halved.folder, cast)
    weights = final_weights(whole)
    for name, tensor in final_weights(halved).items():
        torch.testing.assert_close(tensor, weights[name], rtol=0, atol=1e-3)
