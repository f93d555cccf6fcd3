"""The work of a trial: start or continue its alignment, then measure its last policy on the test prompts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import ray

from actors.cluster.cast import spawn_in_group
from actors.cluster.named_actors import attach
from allgood.errors import CheckpointError
from allgood.winrate import win_rate_by_prompt
from pipelines.alignment.align import resume, run_align
from pipelines.alignment.checkpoints import TABLE_HASH, latest, newest
from pipelines.alignment.loop import Step
from pipelines.alignment.watching import Watch
from pipelines.cast.actors import Actors, SharedActors
from pipelines.cast.request import lane_request
from pipelines.comparison.arms import sample_policy
from pipelines.config.run import RunConfig
from pipelines.evaluation.estimates import PerPrompt, known_estimates
from pipelines.evaluation.measure import good_share
from pipelines.evaluation.samples import ScoredSamples, load_samples, save_samples
from pipelines.evaluation.samples import test_prompts as prompts_of_test
from pipelines.objective.gold import gold_of
from pipelines.output.hashes import sha256_of
from pipelines.output.progress import say
from pipelines.references.table import MANIFEST
from pipelines.references.treatments import run_table
from pipelines.run.folder import RunFolder
from pipelines.sweep.judge import load_opponents, validation_judge
from pipelines.sweep.placement import FIRST_BUNDLE
from pipelines.sweep.plan import SFT_SAMPLES, TrialPlan
from pipelines.sweep.score import Source
from pipelines.sweep.shared import judged_samples
from pipelines.sweep.unjudged import training_rewards


def align_and_measure(config: RunConfig, plan: TrialPlan, observe: Callable[[Step], None]) -> dict[str, Any]:
    """Run the trial in the placement group that Ray Tune made for it. Returns what `result.json` holds."""
    group = ray.util.get_current_placement_group()
    assert group is not None, "Ray Tune runs every trial in a placement group"
    with spawn_in_group(lane_request(config), group, first_bundle=FIRST_BUNDLE) as own:
        cast = SharedActors(own=own, shared=attach(plan.shared))
        summary = align_trial(
            config, cast, Watch(validation_judge(config, load_opponents(config, plan.source), cast), observe)
        )
        samples = _test_samples(config, cast, plan.source, policy_version=int(summary["policy_version"]))
    sft = load_samples(plan.folder / SFT_SAMPLES)
    return {
        "steps": summary["steps"],
        "stopped": summary["stopped"],
        "validation": summary["validation"],
        "test": test_numbers(config, plan.source, samples, sft),
        "model": str(RunFolder(config.folder).model),
    }


def align_trial(config: RunConfig, cast: Actors, watch: Watch | None = None) -> Mapping[str, Any]:
    """Align from the last checkpoint, or anew; the cast holds the trial's last policy afterwards."""
    folder = RunFolder(config.folder)
    if folder.config.is_file() and newest(folder.checkpoints) is not None:
        obstacle = why_anew(config)
        if obstacle is None:
            return resume(folder.path, cast, watch=watch)
        say(f"{obstacle}; starting anew")
    return run_align(config, cast, overwrite=True, watch=watch)


def why_anew(config: RunConfig) -> str | None:
    """Why the trial cannot go on from its checkpoints: all are damaged, or the table has changed; None if it can."""
    folder = RunFolder(config.folder)
    try:
        checkpoint = latest(folder.checkpoints, say)
    except CheckpointError:
        return f"every checkpoint in {folder.checkpoints} is damaged"
    table = run_table(config)
    now = None if table is None else sha256_of(table.folder / MANIFEST)
    if checkpoint is not None and checkpoint.hashes.get(TABLE_HASH) != now:
        return "another sweep had the reference table of the base built again"
    return None


def _test_samples(config: RunConfig, cast: Actors, source: Source, *, policy_version: int) -> ScoredSamples:
    prompts = prompts_of_test(config)
    policy = sample_policy(config, cast, prompts, policy_version=policy_version)
    samples = judged_samples(config, source, cast, prompts, policy)
    save_samples(samples, RunFolder(config.folder).evaluation / "samples.parquet")
    return samples


def test_numbers(config: RunConfig, source: Source, samples: ScoredSamples, sft: ScoredSamples) -> dict[str, Any]:
    """Win rates, KL and, by gold, the both-good rate on test prompts, with intervals from resampled prompts.

    Where nobody judges, training rewards and KL.
    """
    if source == "nobody":
        return training_rewards(samples, config)
    ours, theirs = (s.policy.gold if source == "gold" else s.evaluators for s in (samples, sft))
    wins = {name: win_rate_by_prompt(scores, theirs[name]).numpy() for name, scores in ours.items()}
    columns: dict[str, PerPrompt] = {f"win_rate.{name}": rates for name, rates in wins.items()}
    columns |= {"win_rate": np.mean(list(wins.values()), axis=0), "kl": samples.policy.kl.mean(axis=1)}
    gold = gold_of(config)
    if gold is not None:
        columns["both_good"] = good_share(samples.policy.gold, gold.bars)
    found = known_estimates(columns, seed=config.seed, num_bootstrap=config.evaluate.bootstrap)
    return {name: asdict(estimate) for name, estimate in found.items()}
