"""What a policy is worth against the start policy: pure numbers from samples of both on the same prompts.

Axes: prompts P, samples k of the policy, samples m of the start policy. A win rate compares every policy sample with
every pi_0 sample of its prompt (k x m pairs), ties count one half; the start policy against itself compares disjoint
halves of its samples, because a response never competes with itself. Good means at or over a bar per property.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from allgood.diagnostics import Improvement, improvement
from allgood.shortcuts import shortcut_rates
from allgood.winrate import both_win_rate_by_prompt, win_rate_by_prompt
from pipelines.evaluation.estimates import Estimate, PerPrompt, estimates
from pipelines.objective.gold import over_every_bar

FloatGrid = NDArray[np.float64]
"""One value per sample, [prompts, samples]; NaN where scoring failed."""

EVALUATION_QUANTILES = {"helpful": 0.85, "harmless": 0.95}  # of the start policy's scores; other properties: DEFAULT
DEFAULT_QUANTILE = 0.85


@dataclass(frozen=True)
class PolicySamples:
    """k responses of one policy to each of P prompts. `gold` is empty where no gold exists."""

    prompt_ids: tuple[str, ...]
    responses: tuple[tuple[str, ...], ...]  # [P][k]
    gold: Mapping[str, FloatGrid]  # per property, [P, k]
    kl: FloatGrid  # k1 summed over each response, log pi - log pi_0, nats, [P, k]
    finish_reasons: tuple[tuple[str, ...], ...]  # [P][k]
    num_tokens: NDArray[np.int64]  # [P, k]

    def samples(self, chosen: slice) -> PolicySamples:
        """The same prompts with some of their samples."""
        return replace(
            self,
            responses=tuple(row[chosen] for row in self.responses),
            gold={name: grid[:, chosen] for name, grid in self.gold.items()},
            kl=self.kl[:, chosen],
            finish_reasons=tuple(row[chosen] for row in self.finish_reasons),
            num_tokens=self.num_tokens[:, chosen],
        )


@dataclass(frozen=True, kw_only=True)
class GoldMeasurement:
    """What gold says. Rates are shares of pairs (win rates) or of responses (good rates)."""

    gold_win_rate: Estimate  # mean over properties
    gold_win_rates: dict[str, Estimate]
    both_win_rate: Estimate  # at least as good in every property and better in one
    evaluator_1_win_rate: Estimate  # answers drawn from Bradley-Terry on gold; mean over properties
    evaluator_1_win_rates: dict[str, Estimate] | None = None  # always there, but in measurements of early versions
    both_good_rate: Estimate
    both_good_gain: Estimate  # minus the start policy's, paired by prompt
    good_rates: dict[str, Estimate]
    both_good_at: dict[str, Estimate]  # at bars from the start policy's gold: "sft_median", "sft_quantiles"
    both_good_gain_at: dict[str, Estimate]
    gold_means: dict[str, Estimate]
    improvement: dict[str, Improvement]


@dataclass(frozen=True)
class Measurement:
    """A policy on the test prompts. `gold` is None where no gold exists."""

    num_prompts: int
    num_samples: int
    kl: Estimate  # nats per response
    shortcut_rates: dict[str, Estimate]
    share_cut: Estimate  # responses that ended at the length limit
    gold: GoldMeasurement | None


def measure(
    policy: PolicySamples,
    sft: PolicySamples,
    bars: Mapping[str, float],
    *,
    seed: int,
    num_bootstrap: int,
    quantiles: Mapping[str, float] = EVALUATION_QUANTILES,
) -> Measurement:
    """Measure `policy` against `sft` (the same object: the start policy itself).

    `bars` says from which gold score a response is good; `quantiles` makes the alternative bars.

    Raises:
        ValueError: The two have other prompts, other properties, or the start policy has one sample and meets itself.
    """
    _check(policy, sft, bars)
    columns: dict[str, PerPrompt] = {"kl": policy.kl.mean(axis=1)}
    columns["share_cut"] = np.array([np.mean([reason == "length" for reason in row]) for row in policy.finish_reasons])
    columns |= {f"shortcut.{name}": values for name, values in shortcut_rates(policy.responses).items()}
    if policy.gold:
        columns |= _gold_columns(policy, sft, bars, quantiles, seed)
    found = estimates(columns, seed=seed, num_bootstrap=num_bootstrap)
    return Measurement(
        num_prompts=len(policy.prompt_ids),
        num_samples=policy.kl.shape[1],
        kl=found["kl"],
        shortcut_rates=_group(found, "shortcut."),
        share_cut=found["share_cut"],
        gold=_gold_measurement(found, policy, sft) if policy.gold else None,
    )


def evaluator_1_win_rates(
    scores: Mapping[str, FloatGrid], opponents: Mapping[str, FloatGrid], *, seed: int
) -> dict[str, PerPrompt]:
    """Win rates when a Bradley-Terry rater with gold in nats answers each pair, per property, [prompts]."""
    generator = np.random.default_rng([seed, 1])
    rates = {}
    for name in sorted(scores):
        margin = scores[name][:, :, None] - opponents[name][:, None, :]
        probability = 0.5 * (1 + np.tanh(0.5 * margin))  # sigma(margin) without overflow
        rates[name] = (generator.random(margin.shape) < probability).mean(axis=(1, 2))
    return rates


def good_share(scores: Mapping[str, FloatGrid], bars: Mapping[str, float]) -> PerPrompt:
    """Share of each prompt's samples at or over every bar, [prompts]."""
    share: PerPrompt = over_every_bar(scores, bars).mean(axis=1)
    return share


def quantile_bars(scores: Mapping[str, FloatGrid], quantiles: Mapping[str, float]) -> dict[str, float]:
    """Bars at quantiles of the scores over all prompts together, linear interpolation."""
    return {name: float(np.nanquantile(grid, quantiles.get(name, DEFAULT_QUANTILE))) for name, grid in scores.items()}


def opponents_of(policy: PolicySamples, sft: PolicySamples) -> tuple[PolicySamples, PolicySamples]:
    """Who meets whom in a win rate: the policy and the start policy, or the start policy's two halves.

    Raises:
        ValueError: The start policy meets itself with a single sample per prompt.
    """
    if policy is not sft:
        return policy, sft
    half = sft.kl.shape[1] // 2
    if half == 0:
        raise ValueError("the start policy against itself needs at least 2 samples per prompt, and has 1")
    return sft.samples(slice(0, half)), sft.samples(slice(half, None))


def _gold_columns(
    policy: PolicySamples, sft: PolicySamples, bars: Mapping[str, float], quantiles: Mapping[str, float], seed: int
) -> dict[str, PerPrompt]:
    left, right = opponents_of(policy, sft)
    wins = {name: win_rate_by_prompt(left.gold[name], right.gold[name]).numpy() for name in left.gold}
    columns = {f"win.{name}": rate for name, rate in wins.items()}
    columns["gold_win_rate"] = _mean_of(list(wins.values()))
    columns["both_win_rate"] = both_win_rate_by_prompt(left.gold, right.gold).numpy()
    rated = evaluator_1_win_rates(left.gold, right.gold, seed=seed)
    columns |= {f"rated.{name}": rate for name, rate in rated.items()}
    columns["evaluator_1_win_rate"] = _mean_of(list(rated.values()))
    every_bar = {
        "world": dict(bars),
        "sft_median": quantile_bars(sft.gold, dict.fromkeys(sft.gold, 0.5)),
        "sft_quantiles": quantile_bars(sft.gold, quantiles),
    }
    for name, alternative in every_bar.items():
        columns[f"good.{name}"] = good_share(policy.gold, alternative)
        columns[f"gain.{name}"] = columns[f"good.{name}"] - good_share(sft.gold, alternative)
    columns |= {f"property_good.{name}": good_share(policy.gold, {name: bar}) for name, bar in bars.items()}
    columns |= {f"mean.{name}": grid.mean(axis=1) for name, grid in policy.gold.items()}
    return columns


def _gold_measurement(found: Mapping[str, Estimate], policy: PolicySamples, sft: PolicySamples) -> GoldMeasurement:
    good, gain = _group(found, "good."), _group(found, "gain.")
    return GoldMeasurement(
        gold_win_rate=found["gold_win_rate"],
        gold_win_rates=_group(found, "win."),
        both_win_rate=found["both_win_rate"],
        evaluator_1_win_rate=found["evaluator_1_win_rate"],
        evaluator_1_win_rates=_group(found, "rated."),
        both_good_rate=good.pop("world"),
        both_good_gain=gain.pop("world"),
        good_rates=_group(found, "property_good."),
        both_good_at=good,
        both_good_gain_at=gain,
        gold_means=_group(found, "mean."),
        improvement={name: improvement(grid, sft.gold[name]) for name, grid in policy.gold.items()},
    )


def _mean_of(rates: Sequence[PerPrompt]) -> PerPrompt:
    mean: PerPrompt = np.mean(rates, axis=0)
    return mean


def _group(found: Mapping[str, Estimate], prefix: str) -> dict[str, Estimate]:
    return {name.removeprefix(prefix): value for name, value in found.items() if name.startswith(prefix)}


def _check(policy: PolicySamples, sft: PolicySamples, bars: Mapping[str, float]) -> None:
    if policy.prompt_ids != sft.prompt_ids:
        raise ValueError("the policy and the start policy were sampled on other prompts, or in another order")
    if set(policy.gold) != set(sft.gold):
        raise ValueError(f"gold of the policy is about {sorted(policy.gold)}, of the start policy {sorted(sft.gold)}")
    if policy.gold and set(bars) != set(policy.gold):
        raise ValueError(f"bars are given for {sorted(bars)}, but gold for {sorted(policy.gold)}")
