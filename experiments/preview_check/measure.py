"""Both sides in the same numbers by prompt: the tilt of SFT samples, and a trained policy's own samples."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from allgood.opponents import weighted_win_rate, win_shares
from allgood.tilting import tilt
from allgood.winrate import win_rate_by_prompt
from experiments.preview_check.design import CheckSetting
from experiments.study.flatness import validation_curve
from pipelines.cast.actors import Actors
from pipelines.cast.lane import Lane
from pipelines.cast.request import limits_of
from pipelines.comparison.arms import ArmRun
from pipelines.config.run import RunConfig
from pipelines.data import Prompt
from pipelines.evaluation.efficiency import from_utilities
from pipelines.evaluation.measure import PolicySamples
from pipelines.references.cached_samples import CachedSamples, cached_utilities
from pipelines.references.table import ReferenceTable

Entry = dict[str, Any]


@dataclass(frozen=True)
class Side:
    """Numbers by prompt, [prompts]: KL and utility in nats, the others shares."""

    kl: Tensor
    utility: Tensor
    gold_win_rates: Mapping[str, Tensor]
    both_good: Tensor

    @property
    def gold_win_rate(self) -> Tensor:
        """Mean over properties."""
        return torch.stack(list(self.gold_win_rates.values())).mean(0)

    def as_json(self) -> Entry:
        """Lists by prompt, and means."""
        columns = {
            "kl": self.kl,
            "utility": self.utility,
            "gold_win_rate": self.gold_win_rate,
            "both_good": self.both_good,
            **{f"gold_win_rate.{name}": rate for name, rate in self.gold_win_rates.items()},
        }
        return {
            "mean": {name: float(values.mean()) for name, values in columns.items()},
            "by_prompt": {name: [round(float(value), 5) for value in values] for name, values in columns.items()},
        }


@dataclass(frozen=True)
class Trained:
    """A trained policy's samples with rewards and gold, and its measured KL, [prompts], in nats."""

    samples: CachedSamples
    kl: Tensor


@dataclass(frozen=True)
class Predictor:
    """SFT samples of the test prompts, and what gold makes of them, once for all settings."""

    cached: CachedSamples
    table: ReferenceTable
    bars: Mapping[str, float]
    shares: Mapping[str, Tensor]

    @staticmethod
    def of(cached: CachedSamples, table: ReferenceTable, bars: Mapping[str, float]) -> Predictor:
        """Compare every sample with every other once."""
        return Predictor(cached, table, bars, {name: win_shares(grid) for name, grid in cached.gold.items()})

    def utilities(self, config: RunConfig) -> Tensor:
        """Of the SFT samples, [prompts, samples]."""
        return cached_utilities(config, self.cached, self.table)

    def predict(self, utilities: Tensor, gamma: float) -> tuple[Side, bool]:
        """The optimum at `gamma`, and whether the samples support it."""
        tilted = tilt(utilities, gamma)
        side = Side(
            kl=tilted.kl,
            utility=tilted.expect(utilities),
            gold_win_rates={name: weighted_win_rate(tilted.weights, shares) for name, shares in self.shares.items()},
            both_good=tilted.expect(self.cached.all_good(self.bars)),
        )
        return side, tilted.reliable

    def measured(self, config: RunConfig, trained: Trained) -> Side:
        """A trained policy's own samples against all SFT samples of the same prompts."""
        gold = trained.samples.gold
        return Side(
            kl=trained.kl,
            utility=cached_utilities(config, trained.samples, self.table).mean(-1),
            gold_win_rates={name: win_rate_by_prompt(grid, self.cached.gold[name]) for name, grid in gold.items()},
            both_good=trained.samples.all_good(self.bars).mean(-1),
        )


def trained_samples(run: ArmRun, like: CachedSamples, lane: Actors, prompts: Sequence[Prompt]) -> Trained:
    """Score a policy's samples; prompts in the order of `like` (by prompt id)."""
    return in_order_of(like, run.samples, score_samples(run.arm.config, run.samples, lane, prompts), prompts)


def in_order_of(
    like: CachedSamples, policy: PolicySamples, rewards: Mapping[str, Tensor], prompts: Sequence[Prompt]
) -> Trained:
    """A policy's samples with their rewards [prompts, samples], on the prompts of `like` alone and in its order."""
    order = [policy.prompt_ids.index(prompt_id) for prompt_id in like.prompt_ids]
    reasons = tuple(policy.finish_reasons[index] for index in order)
    samples = replace(
        like,
        prompts=tuple(prompts[index].text for index in order),
        responses=tuple(policy.responses[index] for index in order),
        finish_reasons=reasons,
        num_tokens=torch.from_numpy(policy.num_tokens)[order],
        was_cut=torch.tensor([[reason == "length" for reason in row] for row in reasons]),
        rewards={name: grid[order] for name, grid in rewards.items()},
        gold={name: torch.from_numpy(grid)[order] for name, grid in policy.gold.items()},
        evaluators={},
    )
    return Trained(samples, torch.from_numpy(policy.kl).mean(-1)[order])


def score_samples(
    config: RunConfig, policy: PolicySamples, actors: Actors, prompts: Sequence[Prompt]
) -> dict[str, Tensor]:
    """Rewards of a policy's samples by the reward models of `config`, per property [prompts, samples]."""
    return asyncio.run(_rewards(config, policy.responses, actors, prompts))


async def _rewards(
    config: RunConfig, responses: Sequence[Sequence[str]], actors: Actors, prompts: Sequence[Prompt]
) -> dict[str, Tensor]:
    names = list(config.properties)
    lane = Lane(actors, key="preview_check", scorers=names, limits=limits_of(config))
    asked = [prompt.text for prompt, row in zip(prompts, responses, strict=True) for _ in row]
    flat = [text for row in responses for text in row]
    found = {name: await lane.score_texts(name, asked, flat) for name in names}
    return {name: torch.from_numpy(scores).double().reshape(len(prompts), -1) for name, scores in found.items()}


def compare(predictor: Predictor, setting: CheckSetting, run: ArmRun, trained: Trained, *, target_kl: float) -> Entry:
    """What is stored of one setting at one target KL: both sides by prompt, efficiency, gold's gain, the curve."""
    gamma = run.arm.config.kl.coefficient
    utilities = predictor.utilities(setting.config)
    predicted, reliable = predictor.predict(utilities, gamma)
    achieved = predictor.measured(setting.config, trained)
    return {
        "setting": setting.name,
        "label": setting.label,
        "target_kl": target_kl,
        "gamma": gamma,
        "reliable": reliable,
        "predicted": predicted.as_json(),
        "achieved": achieved.as_json(),
        "at_measured_kl": _at_measured_kl(predictor, utilities, achieved),
        "curve": validation_curve(run.arm.config.folder / "metrics.jsonl"),
        "seconds": run.summary["seconds"],
    }


def _at_measured_kl(predictor: Predictor, utilities: Tensor, achieved: Side) -> Entry:
    """Efficiency: the run's gain in utility over the tilt's at the run's own KL. The same ratio for the gold win rate.

    Null where the samples cannot show that KL, with the reason.
    """
    mean_utility, kl = float(achieved.utility.mean()), float(achieved.kl.mean())
    found = from_utilities(utilities.numpy(), mean_utility=mean_utility, kl=kl)
    if isinstance(found, str):
        return {"efficiency": None, "gold_gain_ratio": None, "problem": found}
    tilted, reliable = predictor.predict(utilities, found.gamma)
    gold = float(tilted.gold_win_rate.mean())
    return {
        "efficiency": found.value,
        "gold_gain_ratio": (float(achieved.gold_win_rate.mean()) - 0.5) / (gold - 0.5),
        "gold_win_rate": gold,
        "reliable": reliable,
        "problem": None,
    }
