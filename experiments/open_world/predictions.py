"""What tilting says of every arm before any is trained: per point and seed, from the trained reward models.

Gammas, weights, caps and the rival of each target are chosen on validation prompts; the predicted numbers are those of
test prompts at exactly the target KL. `reliable` is the flag of `allgood.tilting`: without it the samples read KL too
low. An arm whose KL the samples cannot show at all has no gamma, and is not trained.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from allgood.diagnostics import within_prompt_correlation
from allgood.opponents import weighted_win_rate, win_shares
from allgood.tilting import solve_gamma, tilt
from experiments.open_world.design import OTHERS, PRIMARY_KLS, RIVALS, SOLVED_SHARES, PlannedArm, predicted_arms
from experiments.open_world.objectives import parameters_of, with_parameter
from experiments.open_world.on_the_map import map_entry
from experiments.open_world.phrases import rare_shares
from pipelines.config.run import RunConfig
from pipelines.evaluation.estimates import estimates
from pipelines.objective.gold import gold_of
from pipelines.references.cached_samples import CachedSamples, cached_utilities, load_cached_samples
from pipelines.references.table import ReferenceTable
from pipelines.run.folder import RunFolder

Entry = dict[str, Any]
ALL_GOOD = "all_good"
_DIGITS = 5


@dataclass(frozen=True)
class Sampled:
    """Samples of pi_0 on the prompts of a split; `rare` is 1 where one has a rare phrase, [prompts, samples]."""

    cached: CachedSamples
    table: ReferenceTable
    bars: Mapping[str, float]
    rare: Mapping[str, Tensor]

    @staticmethod
    def of(config: RunConfig, split: str) -> Sampled:
        """Of the prediction's run."""
        cached = load_cached_samples(config, split)
        gold = gold_of(config)
        assert gold is not None
        table = ReferenceTable.load(RunFolder(config.folder).references)
        return Sampled(cached, table, gold.bars, rare_shares(cached.responses, list(gold.bars)))

    @cached_property
    def values(self) -> dict[str, Tensor]:
        """What is asked of every sample, [prompts, samples]: over every bar, over each, with a rare phrase."""
        return {
            ALL_GOOD: self.cached.all_good(self.bars),
            **{f"good.{name}": (self.cached.gold[name] >= bar).double() for name, bar in self.bars.items()},
            **{f"rare.{name}": share for name, share in self.rare.items()},
        }

    def utilities(self, config: RunConfig) -> Tensor:
        """[prompts, samples]."""
        return cached_utilities(config, self.cached, self.table)


@dataclass(frozen=True)
class Choice:
    """Of one arm on validation prompts: the parameter, and the all-good rate at the target; None out of reach."""

    parameter: float | None
    rate: float | None


def predict(config: RunConfig) -> Entry:
    """Every arm's choices and predicted numbers. `config` is the prediction's run."""
    validation, test = Sampled.of(config, "validation"), Sampled.of(config, "test")
    shares = {name: win_shares(grid) for name, grid in test.cached.gold.items()}
    choices = {arm: choose(config, validation, arm) for arm in predicted_arms()}
    return {
        "samples": {
            "per_prompt": test.cached.num_samples,
            "validation_prompts": len(validation.cached.prompt_ids),
            "test_prompts": len(test.cached.prompt_ids),
        },
        "start": {name: float(value.mean()) for name, value in test.values.items()},
        "coordinates": coordinates(test.cached),
        "map": map_entry(test.cached, test.rare, test.bars),
        "rivals": {f"{kl:g}": best_of(RIVALS, (kl,), choices) for kl in PRIMARY_KLS},
        "best_other": best_of(OTHERS, PRIMARY_KLS, choices),
        "arms": [_arm(config, arm, choice, validation, test, shares) for arm, choice in choices.items()],
    }


def choose(config: RunConfig, validation: Sampled, arm: PlannedArm) -> Choice:
    """The parameter with the best all-good rate at the target; of equals the first."""
    rates = {
        parameter: _rate_at(
            validation.utilities(with_parameter(config, arm.objective, parameter)),
            validation.values[ALL_GOOD],
            arm.target_kl,
        )
        for parameter in parameters_of(arm.objective)
    }
    reached = {parameter: rate for parameter, rate in rates.items() if rate is not None}
    if not reached:
        return Choice(None, None)
    best = max(reached, key=lambda parameter: reached[parameter])
    return Choice(best, reached[best])


def best_of(names: tuple[str, ...], targets: tuple[float, ...], choices: Mapping[PlannedArm, Choice]) -> str:
    """The objective with the highest mean rate on validation prompts over the targets; of equals the first."""

    def rate(name: str) -> float:
        found = [choices[PlannedArm(name, kl)].rate for kl in targets]
        return float(np.mean([-1.0 if value is None else value for value in found]))

    return max(names, key=rate)


def _rate_at(utilities: Tensor, good: Tensor, target_kl: float) -> float | None:
    gamma = _gamma(utilities, target_kl)
    return None if gamma is None else float(tilt(utilities, gamma).expect(good).mean())


def _gamma(utilities: Tensor, target_kl: float) -> float | None:
    """None where the samples cannot show that KL."""
    try:
        return solve_gamma(utilities, target_kl)
    except ValueError:
        return None


def _arm(
    config: RunConfig,
    arm: PlannedArm,
    choice: Choice,
    validation: Sampled,
    test: Sampled,
    shares: Mapping[str, Tensor],
) -> Entry:
    entry: Entry = {"objective": arm.objective, "target_kl": arm.target_kl, "parameter": choice.parameter}
    if choice.rate is None:
        return entry | {"gamma": None}
    chosen = with_parameter(config, arm.objective, choice.parameter)
    of_validation = validation.utilities(chosen)
    solved = _gamma(of_validation, SOLVED_SHARES[arm.target_kl] * arm.target_kl) or _gamma(of_validation, arm.target_kl)
    utilities = test.utilities(chosen)
    at_target = _gamma(utilities, arm.target_kl)
    if solved is None or at_target is None:
        return entry | {"gamma": None}
    return entry | {"gamma": solved, "validation_rate": choice.rate} | _predicted(utilities, at_target, test, shares)


def _predicted(utilities: Tensor, gamma: float, test: Sampled, shares: Mapping[str, Tensor]) -> Entry:
    """At the target KL on test prompts: means with 95 % intervals over prompts, and the all-good rate by prompt."""
    tilted = tilt(utilities, gamma)
    wins = {f"win.{name}": weighted_win_rate(tilted.weights, share) for name, share in shares.items()}
    columns = {"kl": tilted.kl, **{name: tilted.expect(value) for name, value in test.values.items()}, **wins}
    columns["gold_win_rate"] = torch.stack(list(wins.values())).mean(0)
    found = estimates({name: column.numpy() for name, column in columns.items()}, seed=0, num_bootstrap=2000)
    return {
        "reliable": tilted.reliable,
        "worst_ess": float(tilted.effective_sample_size.min()),
        "predicted": {name: [round(x, _DIGITS) for x in (e.value, e.low, e.high)] for name, e in found.items()},
        "by_prompt": [round(float(value), _DIGITS) for value in columns[ALL_GOOD]],
    }


def coordinates(cached: CachedSamples) -> Entry:
    """Where the trained reward models lie on the map: spreads in nats, correlations within prompts.

    `spread` is that of rewards within a prompt: median, 10 and 90 % quantile over prompts.
    """
    names = list(cached.rewards)
    spreads = {name: torch.std(cached.rewards[name], dim=-1).numpy() for name in names}
    pairs = [(first, second) for index, first in enumerate(names) for second in names[index + 1 :]]
    return {
        "spread": {name: [float(np.quantile(spreads[name], q)) for q in (0.5, 0.1, 0.9)] for name in names},
        "gold_spread": {name: float(torch.std(cached.gold[name], dim=-1).median()) for name in names},
        "reward_gold": {name: within_prompt_correlation(cached.rewards[name], cached.gold[name]) for name in names},
        "rewards": {
            f"{first}~{second}": within_prompt_correlation(cached.rewards[first], cached.rewards[second])
            for first, second in pairs
        },
        "gold": {
            f"{first}~{second}": within_prompt_correlation(cached.gold[first], cached.gold[second])
            for first, second in pairs
        },
    }
