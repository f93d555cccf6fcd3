"""The headline numbers of a policy, flat, under the names that `summary.json` has everywhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from allgood.diagnostics import Improvement
from pipelines.evaluation.estimates import Estimate
from pipelines.evaluation.measure import Measurement
from pipelines.evaluation.measurements import Measurements
from pipelines.output.typed_json import FLAT

Interval = tuple[float, float]

TRAINING_REWARD = "training reward"  # in whose score a gain is, where nobody judges


@dataclass(frozen=True, kw_only=True)
class Headlines:
    """Of one policy; `*_ci` are 95 % intervals. Those of gold are None where no gold exists."""

    kl: float | None = None  # nats per response
    kl_ci: Interval | None = None
    shortcut_rates: dict[str, float] | None = None
    share_cut: float | None = None
    gold_win_rate: float | None = None
    gold_win_rate_ci: Interval | None = None
    both_win_rate: float | None = None
    both_win_rate_ci: Interval | None = None
    evaluator_1_win_rate: float | None = None
    evaluator_1_win_rate_ci: Interval | None = None
    both_good_rate: float | None = None
    both_good_rate_ci: Interval | None = None
    both_good_gain: float | None = None
    both_good_gain_ci: Interval | None = None
    gold_win_rates: dict[str, float] | None = None
    evaluator_1_win_rates: dict[str, float] | None = None
    good_rates: dict[str, float] | None = None
    both_good_at: dict[str, float] | None = None
    both_good_gain_at: dict[str, float] | None = None
    improvement: dict[str, Improvement] | None = None
    improvement_by: str | None = None  # in whose score, where it is not gold's


@dataclass(frozen=True, kw_only=True)
class EvaluationSummary:
    """What the `summary.json` of a run holds of its evaluation."""

    num_prompts: int
    num_samples: int
    sft: Headlines
    aligned: Headlines
    evaluator_2_win_rates: dict[str, float]
    efficiency: float | None


@dataclass(frozen=True, kw_only=True)
class SftSummary:
    """The start policy in a comparison."""

    headlines: Headlines = field(metadata=FLAT)
    measurement: Measurement | None = None


@dataclass(frozen=True, kw_only=True)
class ArmSummary:
    """An aligned policy, as a comparison holds it. `gamma` is its KL coefficient."""

    name: str | None = None
    objective: str
    gamma: float | None = None
    folder: str | None = None
    seconds: float | None = None
    validation_both_good_rate: float | None = None
    headlines: Headlines = field(metadata=FLAT)
    measurement: Measurement | None = None


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The `summary.json` of several arms on one base."""

    numbers_version: int | None = None  # of `pipelines.output.stamp`; early ones have none
    name: str | None = None
    sft: SftSummary
    arms: tuple[ArmSummary, ...]
    chosen_arm: int | None = None
    reward_models: dict[str, Any] | None = None  # reports of their trainings
    seconds: float | None = None
    report: str | None = None
    notes: tuple[str, ...] | None = None


def policy_entry(measurement: Measurement) -> Headlines:
    """The headlines of a measurement; those of gold where gold exists."""
    headlines = Headlines(
        kl=measurement.kl.value,
        kl_ci=measurement.kl.interval,
        shortcut_rates=_values(measurement.shortcut_rates),
        share_cut=measurement.share_cut.value,
    )
    gold = measurement.gold
    if gold is None:
        return headlines
    rated = gold.evaluator_1_win_rates
    return replace(
        headlines,
        gold_win_rate=gold.gold_win_rate.value,
        gold_win_rate_ci=gold.gold_win_rate.interval,
        both_win_rate=gold.both_win_rate.value,
        both_win_rate_ci=gold.both_win_rate.interval,
        evaluator_1_win_rate=gold.evaluator_1_win_rate.value,
        evaluator_1_win_rate_ci=gold.evaluator_1_win_rate.interval,
        both_good_rate=gold.both_good_rate.value,
        both_good_rate_ci=gold.both_good_rate.interval,
        both_good_gain=gold.both_good_gain.value,
        both_good_gain_ci=gold.both_good_gain.interval,
        gold_win_rates=_values(gold.gold_win_rates),
        evaluator_1_win_rates=None if rated is None else _values(rated),
        good_rates=_values(gold.good_rates),
        both_good_at=_values(gold.both_good_at),
        both_good_gain_at=_values(gold.both_good_gain_at),
        improvement=gold.improvement,
    )


def headlines(measurements: Measurements) -> EvaluationSummary:
    """Those of an evaluation, under the names that a comparison uses."""
    over = {name: found.over_quantile for name, found in measurements.evaluators.items()}
    return EvaluationSummary(
        num_prompts=measurements.num_prompts,
        num_samples=measurements.num_samples,
        sft=policy_entry(measurements.sft),
        aligned=policy_entry(measurements.aligned),
        evaluator_2_win_rates={name: share.value for name, share in over.items() if share is not None},
        efficiency=None if measurements.efficiency is None else measurements.efficiency.value,
    )


def _values(estimates: Mapping[str, Estimate]) -> dict[str, float]:
    return {name: estimate.value for name, estimate in estimates.items()}
