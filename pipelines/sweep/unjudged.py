"""A sweep that nobody judges: which choices are impossible, and what it shows instead.

Training rewards are raw, each in its own units, and always next to those of the start policy. Utilities are not shown:
trials with different transforms or references have different ones. Nothing here is sorted or marked by a reward, since
the trial that games its reward models hardest has the highest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from allgood.errors import ConfigError
from pipelines.config.run import RunConfig
from pipelines.config.sweep import OptunaSearch, SingleObjective, SweepConfig
from pipelines.evaluation.entry import TRAINING_REWARD
from pipelines.evaluation.estimates import PerPrompt, known_estimates
from pipelines.evaluation.measure import FloatGrid
from pipelines.evaluation.samples import ScoredSamples, load_samples
from pipelines.reporting.html import with_interval

UNJUDGED = (
    "Nobody judges this sweep: there is no gold and no held-out model, and an HTTP judge is not asked. So no trial is "
    "best or recommended, none ends early, there is no front, and no search has an aim. Training rewards (raw, each in "
    "its own units) and KL stand under their own names. A judge is `evaluate.gold` or `properties.<name>.evaluator`, "
    "trained or by `model`"
)
_REWARD = "reward."


def refuse_choices(sweep: SweepConfig) -> None:
    """ConfigError: the sweep file asks for what only a judge could decide."""
    asked = [
        *(["search.kind optuna"] if isinstance(sweep.search, OptunaSearch) else []),
        *(["mode.kind single_objective"] if isinstance(sweep.mode, SingleObjective) else []),
        *(["kl_budget"] if sweep.kl_budget is not None else []),
    ]
    if asked:
        raise ConfigError(
            f"{', '.join(asked)}: this needs a win rate, and nobody here can judge one, as reward models cannot judge "
            "what was trained on them; give `evaluate.gold` or a held-out model (`properties.<name>.evaluator`), or "
            "leave it out: a grid or random draws run without a judge, and show training rewards and KL"
        )


def training_rewards(samples: ScoredSamples, run: RunConfig) -> dict[str, dict[str, Any]]:
    """Estimates of `kl` and of `reward.<property>`, the raw training reward, with intervals from resampled prompts."""
    columns = {f"{_REWARD}{name}": _mean_of_known(grid) for name, grid in samples.rewards.items()}
    columns["kl"] = samples.policy.kl.mean(axis=1)
    found = known_estimates(columns, seed=run.seed, num_bootstrap=run.evaluate.bootstrap)
    return {name: asdict(estimate) for name, estimate in found.items()}


def _mean_of_known(grid: FloatGrid) -> PerPrompt:
    known = np.isfinite(grid)
    counts = known.sum(axis=1)
    means: PerPrompt = np.divide(
        np.where(known, grid, 0.0).sum(axis=1), counts, out=np.full(len(grid), np.nan), where=counts > 0
    )
    return means


def start_policy(sft_samples: Path, run: RunConfig) -> dict[str, dict[str, Any]]:
    """What `training_rewards` says of the start policy's samples on the test prompts."""
    return training_rewards(load_samples(sft_samples), run)


def reward_table(summary: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Header and rows: the start policy, then the settings as they were started. All numbers are of test prompts."""
    policies = [("start policy", "–", summary["start_policy"])]
    policies += [(setting["setting"], str(setting["seeds"]), setting["test"]) for setting in summary["settings"]]
    rewards = list(dict.fromkeys(key for _, _, test in policies for key in test if key.startswith(_REWARD)))
    header = ["setting", "seeds", "KL", *(f"{TRAINING_REWARD} {key.removeprefix(_REWARD)}" for key in rewards)]
    return header, [
        [name, seeds, _shown(test.get("kl"), 2), *(_shown(test.get(key), 3) for key in rewards)]
        for name, seeds, test in policies
    ]


def _shown(value: Mapping[str, float | None] | None, digits: int) -> str:
    return "–" if value is None else with_interval(value["value"], value["low"], value["high"], digits)
