"""Arms of a world, one after the other, each until it is flat.

What is done is not run again: an interrupted world goes on where it was.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from pipelines.cast_request import Actors
from pipelines.comparison import Arm, ArmRun, run_arms
from pipelines.config.loading import load_config
from pipelines.data import Prompt
from pipelines.evaluation.convergence import change_of_run, is_flat
from pipelines.evaluation.samples import ScoredSamples, load_samples, save_samples
from pipelines.run_folder import RunFolder
from pipelines.study.matched import slower

SAMPLES = "test_samples.parquet"  # written last, so that an arm that has it is whole


def run_missing(
    arms: Sequence[Arm], lanes: Sequence[Actors], prompts: Sequence[Prompt], *, max_steps: int
) -> list[ArmRun]:
    """Every arm's run: what its folder holds of the same configuration, or a new one.

    An arm that is not flat is run again, slower and for twice as many steps, as long as these are at most `max_steps`.
    """
    return [_until_flat(arm, lanes, prompts, max_steps) for arm in arms]


def _until_flat(arm: Arm, lanes: Sequence[Actors], prompts: Sequence[Prompt], max_steps: int) -> ArmRun:
    run = _finished(arm, prompts) or _run(arm, lanes, prompts)
    if 2 * arm.config.align.steps > max_steps or is_flat(change_of_run(arm.config)):
        return run
    return _until_flat(slower(arm), lanes, prompts, max_steps)


def _finished(arm: Arm, prompts: Sequence[Prompt]) -> ArmRun | None:
    folder = RunFolder(arm.config.folder)
    path = folder.path / SAMPLES
    if not path.is_file() or load_config(folder.config) != arm.config:
        return None
    samples = load_samples(path).policy
    if samples.prompt_ids != tuple(prompt.id for prompt in prompts):
        return None
    return ArmRun(arm, json.loads(folder.summary.read_text(encoding="utf-8")), samples)


def _run(arm: Arm, lanes: Sequence[Actors], prompts: Sequence[Prompt]) -> ArmRun:
    path = RunFolder(arm.config.folder).path / SAMPLES
    path.unlink(missing_ok=True)  # of another configuration
    (run,) = run_arms([arm], lanes, prompts)
    save_samples(ScoredSamples(tuple(prompt.text for prompt in prompts), run.samples, {}), path)
    return run
