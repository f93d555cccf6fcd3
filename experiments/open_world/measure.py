"""What is stored of a trained policy, and of the start policy that it is compared with.

Beyond the headlines of an evaluation: how much better the policy looks to its reward models than to gold, prompts left
behind, rare phrases, efficiency on the prompts of the predictions, flatness, and numbers by prompt for intervals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from allgood.idealised.measures import IMPROVED, WORST_SHARE
from allgood.winrate import win_rate_by_prompt
from experiments.open_world.design import PlannedArm
from experiments.open_world.objectives import with_parameter
from experiments.open_world.phrases import rare_shares
from experiments.preview_check.measure import in_order_of, score_samples
from experiments.study.flatness import change_over_last_quarter, validation_curve
from experiments.study.worlds import without_measurement
from pipelines.cast.actors import Actors
from pipelines.comparison.arms import ArmRun, sample_policy
from pipelines.comparison.summary import arm_entry, sft_entry
from pipelines.config.run import RunConfig
from pipelines.data import Prompt
from pipelines.evaluation.efficiency import from_utilities, sft_utilities
from pipelines.evaluation.measure import FloatGrid, PolicySamples, good_share, measure
from pipelines.evaluation.samples import test_prompts
from pipelines.objective.gold import gold_of
from pipelines.output.typed_json import as_json
from pipelines.references.cached_samples import CachedSamples, cached_utilities, load_cached_samples
from pipelines.references.table import ReferenceTable
from pipelines.run.folder import RunFolder

Entry = dict[str, Any]
Floats = NDArray[np.float64]
_DIGITS = 4


@dataclass(frozen=True)
class Judged:
    """Samples of a policy with their rewards, per property [prompts, samples]."""

    samples: PolicySamples
    rewards: Mapping[str, Tensor]


@dataclass(frozen=True)
class Opponent:
    """The start policy on the test prompts, with everything that trained policies are measured against."""

    prompts: Sequence[Prompt]
    samples: PolicySamples
    rewards: Mapping[str, Tensor]  # [prompts, samples]
    bars: Mapping[str, float]
    cached: CachedSamples  # of the predictions' test prompts
    table: ReferenceTable

    @staticmethod
    def of(config: RunConfig, prediction: RunConfig, actors: Actors) -> Opponent:
        """Sample and score the start policy."""
        prompts = test_prompts(config)
        samples = sample_policy(config, actors, prompts, policy_version=0, is_reference=True)
        gold = gold_of(config)
        assert gold is not None
        return Opponent(
            prompts,
            samples,
            score_samples(config, samples, actors, prompts),
            gold.bars,
            load_cached_samples(prediction, "test"),
            ReferenceTable.load(RunFolder(prediction.folder).references),
        )

    def entry(self, config: RunConfig) -> Entry:
        """What is stored of the start policy itself."""
        found = measure(
            self.samples, self.samples, self.bars, seed=config.seed, num_bootstrap=config.evaluate.bootstrap
        )
        half = self.samples.kl.shape[1] // 2  # a response never competes with itself
        first, second = (
            Judged(self.samples.samples(part), {name: grid[:, part] for name, grid in self.rewards.items()})
            for part in (slice(0, half), slice(half, None))
        )
        of_samples = _of_samples(self.samples, self.bars) | _against(first, second)
        return without_measurement(as_json(sft_entry(found))) | of_samples


def arm_measures(run: ArmRun, arm: PlannedArm, parameter: float | None, opponent: Opponent, actors: Actors) -> Entry:
    """What is stored of a trained policy."""
    config = run.arm.config
    found = measure(
        run.samples, opponent.samples, opponent.bars, seed=config.seed, num_bootstrap=config.evaluate.bootstrap
    )
    rewards = score_samples(config, run.samples, actors, opponent.prompts)
    curve = validation_curve(RunFolder(config.folder).metrics)
    return (
        without_measurement(as_json(arm_entry(run, found)))
        | {"objective": arm.objective, "target_kl": arm.target_kl, "parameter": parameter}
        | _of_samples(run.samples, opponent.bars)
        | _against(Judged(run.samples, rewards), Judged(opponent.samples, opponent.rewards))
        | {
            "steps": config.align.steps,
            "learning_rate": config.align.optimizer.learning_rate,
            "curve": curve,
            "change": change_over_last_quarter(curve, sft_utility=float(sft_utilities(config).mean())),
            "efficiency": _efficiency(run, arm, parameter, rewards, opponent),
        }
    )


def _of_samples(samples: PolicySamples, bars: Mapping[str, float]) -> Entry:
    rare = rare_shares(samples.responses, list(bars))
    return {
        "rare_rates": {name: float(shares.mean()) for name, shares in rare.items()},
        "mean_tokens": float(samples.num_tokens.mean()),
        "worst_tenth": worst_tenth(samples.gold, bars),
        "by_prompt": {
            "all_good": _rounded(good_share(samples.gold, bars)),
            "kl": _rounded(samples.kl.mean(axis=1)),
        },
    }


def _against(policy: Judged, other: Judged) -> Entry:
    """Win rates by the reward models, and the share of prompts that gold finds no better in some property."""
    won = {name: win_rate_by_prompt(grid, other.rewards[name]) for name, grid in policy.rewards.items()}
    gold = [win_rate_by_prompt(grid, other.samples.gold[name]) for name, grid in policy.samples.gold.items()]
    return {
        "reward_win_rates": {name: float(rate.mean()) for name, rate in won.items()},
        "not_improved": float((torch.stack(gold).amin(0) < IMPROVED).double().mean()),
    }


def worst_tenth(gold: Mapping[str, FloatGrid], bars: Mapping[str, float]) -> float:
    """Mean all-good rate of the lowest tenth of the prompts, which half of the samples find, on the other half.

    The same samples for both would find the unluckiest prompts, not the worst.
    """
    halves = [good_share({name: grid[:, half::2] for name, grid in gold.items()}, bars) for half in (0, 1)]
    count = max(1, round(WORST_SHARE * len(halves[0])))
    rates = [_of_lowest(by, rate, count) for by, rate in (halves, halves[::-1])]
    return float(np.mean(rates))


def _of_lowest(by: Floats, rate: Floats, count: int) -> float:
    """Mean rate of the `count` prompts that are lowest in `by`; those on the edge count alike."""
    edge = np.sort(by)[count - 1]
    below, on_edge = by < edge, by == edge
    return float((rate[below].sum() + (count - below.sum()) * rate[on_edge].mean()) / count)


def _efficiency(
    run: ArmRun, arm: PlannedArm, parameter: float | None, rewards: Mapping[str, Tensor], opponent: Opponent
) -> Entry:
    """Gain in the run's utility over the tilt's at the run's KL, both on the test prompts of the predictions."""
    trained = in_order_of(opponent.cached, run.samples, rewards, opponent.prompts)
    config = _with_base(run.arm.config, opponent, arm, parameter)
    sft = cached_utilities(config, opponent.cached, opponent.table)
    utility = cached_utilities(config, trained.samples, opponent.table)
    found = from_utilities(sft.numpy(), mean_utility=float(utility.mean()), kl=float(trained.kl.mean()))
    if isinstance(found, str):
        return {"value": None, "problem": found}
    return {"value": found.value, "reliable": found.reliable, "kl": found.kl}


def _with_base(config: RunConfig, opponent: Opponent, arm: PlannedArm, parameter: float | None) -> RunConfig:
    """The run whose utilities stand on the table of the predictions: as many draws as it has samples."""
    references = config.references.model_copy(update={"num_samples": opponent.cached.num_samples})
    return with_parameter(config.model_copy(update={"references": references}), arm.objective, parameter)


def _rounded(values: Floats) -> list[float]:
    return [round(float(value), _DIGITS) for value in values]
