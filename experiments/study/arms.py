"""Arms of a world, one after the other. What is done is not run again: an interrupted world goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Sequence

from pipelines.cast.actors import Actors
from pipelines.comparison.arms import Arm, ArmRun, run_arms
from pipelines.config.loading import load_config
from pipelines.data import Prompt
from pipelines.evaluation.samples import ScoredSamples, load_samples, save_samples
from pipelines.output.stamp import is_of_today
from pipelines.run.folder import RunFolder

SAMPLES = "test_samples.parquet"  # written last, so that an arm that has it is whole


def run_missing(arms: Sequence[Arm], lanes: Sequence[Actors], prompts: Sequence[Prompt]) -> list[ArmRun]:
    """Every arm's run: what its folder holds of the same configuration and version, or a new one."""
    return [_finished(arm, prompts) or _run(arm, lanes, prompts) for arm in arms]


def _finished(arm: Arm, prompts: Sequence[Prompt]) -> ArmRun | None:
    folder = RunFolder(arm.config.folder)
    path = folder.path / SAMPLES
    if not path.is_file() or load_config(folder.config) != arm.config:
        return None
    samples = load_samples(path).policy
    if samples.prompt_ids != tuple(prompt.id for prompt in prompts):
        return None
    summary = json.loads(folder.summary.read_text(encoding="utf-8"))
    return ArmRun(arm, summary, samples) if is_of_today(summary) else None


def _run(arm: Arm, lanes: Sequence[Actors], prompts: Sequence[Prompt]) -> ArmRun:
    path = RunFolder(arm.config.folder).path / SAMPLES
    path.unlink(missing_ok=True)  # of another configuration
    (run,) = run_arms([arm], lanes, prompts)
    save_samples(ScoredSamples(tuple(prompt.text for prompt in prompts), run.samples, {}), path)
    return run
