"""A trial that goes on in new actors: after its last step, and without a whole checkpoint."""

from __future__ import annotations

import pytest

from actors.cluster.cast import Cast, spawn
from pipelines.cast.actors import SharedActors
from pipelines.cast.request import lane_request
from pipelines.comparison.arms import sample_policy
from pipelines.config.run import RunConfig
from pipelines.evaluation.samples import test_prompts as prompts_of_test
from pipelines.run.folder import RunFolder
from pipelines.sweep.execution import align_trial
from tests.pipelines.sweep.tiny_sweep import tiny_base
from tests.pipelines.tiny_references import write_references
from tests.pipelines.tiny_run import final_weights, make_base


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory, tiny_cast: Cast) -> RunConfig:
    """A trial whose alignment is finished."""
    folder = tmp_path_factory.mktemp("trial")
    make_base(folder)
    config = tiny_base(folder)
    write_references(config)
    align_trial(config, tiny_cast)
    return config


def test_one_that_died_after_its_last_step_is_measured_by_new_actors(trial: RunConfig, tiny_cast: Cast) -> None:
    before = final_weights(trial)
    with spawn(lane_request(trial)) as own:
        cast = SharedActors(own, shared=tiny_cast)
        summary = align_trial(trial, cast)
        samples = sample_policy(trial, cast, prompts_of_test(trial), policy_version=int(summary["policy_version"]))
    assert samples.kl.mean() > 0.01  # the aligned policy's, and not the SFT policy's that the actors began with
    assert all((before[name] == weights).all() for name, weights in final_weights(trial).items())


def test_one_without_a_whole_checkpoint_starts_anew(
    trial: RunConfig, tiny_cast: Cast, capsys: pytest.CaptureFixture[str]
) -> None:
    before = final_weights(trial)
    folder = RunFolder(trial.folder)
    for manifest in folder.checkpoints.glob("*/manifest.json"):
        manifest.write_text("{}")
    assert align_trial(trial, tiny_cast)["steps"] == trial.align.steps
    assert "is damaged; starting anew" in capsys.readouterr().out
    assert all((before[name] == weights).all() for name, weights in final_weights(trial).items())
