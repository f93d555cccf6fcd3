"""Everything that an evaluation finds, from samples of both policies: pure, no actors, no files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from allgood.diagnostics import agreement_by_prompt, improvement, saturation, within_prompt_correlation
from allgood.winrate import win_rate_by_prompt
from pipelines.evaluation.efficiency import Efficiency
from pipelines.evaluation.estimates import Estimate, PerPrompt, known_estimates
from pipelines.evaluation.measure import (
    DEFAULT_QUANTILE,
    FloatGrid,
    Measurement,
    measure,
    quantile_bars,
)
from pipelines.evaluation.measurements import (
    ByPolicy,
    EvaluatorFindings,
    JudgeFindings,
    Measurements,
    RewardFindings,
)
from pipelines.evaluation.sample_table import ranked_by, sample_table
from pipelines.evaluation.samples import ScoredSamples
from pipelines.evaluation.scorers import (
    sft_quantile,
    sft_share_over,
    share_over,
)
from pipelines.output.stamp import NUMBERS_VERSION


@dataclass(frozen=True)
class Settings:
    """How to measure: the bars of gold, the quantiles of evaluator bars, the bootstrap."""

    bars: Mapping[str, float]
    quantiles: Mapping[str, float]
    seed: int
    num_bootstrap: int

    def estimates(self, columns: Mapping[str, PerPrompt]) -> dict[str, Estimate]:
        """Estimates of the columns that have values."""
        return known_estimates(columns, seed=self.seed, num_bootstrap=self.num_bootstrap)

    def quantile(self, name: str) -> float:
        """The quantile of a property's evaluator bar."""
        return self.quantiles.get(name, DEFAULT_QUANTILE)


Grids = ByPolicy[Mapping[str, FloatGrid]]
"""A number per property and sample of both policies, [prompts, samples]."""


def findings(
    aligned: ScoredSamples,
    sft: ScoredSamples,
    settings: Settings,
    *,
    margins: Grids,
    p_good: Grids,
    efficiency: Efficiency | str,
    judge: JudgeFindings | None,
) -> Measurements:
    """All but the notes. Margins are z = (r - r_ref) / temperature; `efficiency` may be why there is none."""
    return Measurements(
        numbers_version=NUMBERS_VERSION,
        num_prompts=len(aligned.prompts),
        num_samples=aligned.policy.kl.shape[1],
        num_sft_samples=sft.policy.kl.shape[1],
        bars=settings.bars,
        sft_quantile_bars=quantile_bars(sft.policy.gold, settings.quantiles),
        sft=_measure(sft, sft, settings),
        aligned=_measure(aligned, sft, settings),
        evaluators={name: evaluator_2(aligned, sft, name, settings) for name in aligned.evaluators},
        reward_models={name: reward_model(aligned, sft, name, p_good, settings) for name in aligned.rewards},
        margin_correlations=margin_correlations(margins),
        efficiency=None if isinstance(efficiency, str) else efficiency,
        efficiency_missing=efficiency if isinstance(efficiency, str) else None,
        table=sample_table(aligned, sft),
        table_ranked_by=ranked_by(aligned),
        judge=judge,
    )


def evaluator_2(aligned: ScoredSamples, sft: ScoredSamples, name: str, settings: Settings) -> EvaluatorFindings:
    """The held-out preference model against a quantile of its own scores of pi_0 samples, and against a random one."""
    scores, baseline = aligned.evaluators[name], sft.evaluators[name]
    bars = sft_quantile(baseline, settings.quantile(name))
    found = settings.estimates(
        {
            "over_quantile": share_over(scores, bars),
            "sft_over_quantile": sft_share_over(baseline, settings.quantile(name)),
            "win_rate": win_rate_by_prompt(scores, baseline).numpy(),
        }
    )
    return EvaluatorFindings(
        quantile=settings.quantile(name),
        over_quantile=found.get("over_quantile"),
        sft_over_quantile=found.get("sft_over_quantile"),
        win_rate=found.get("win_rate"),
        improvement=improvement(scores, baseline),
    )


def reward_model(
    aligned: ScoredSamples, sft: ScoredSamples, name: str, p_good: Grids, settings: Settings
) -> RewardFindings:
    """What became of a training reward: gain, saturation, and agreement with evaluator and gold before and after."""
    rewards, baseline = aligned.rewards[name], sft.rewards[name]
    gain = np.nanmean(rewards, axis=1) - np.nanmean(baseline, axis=1)
    found = settings.estimates({"gain": gain, "win_rate": win_rate_by_prompt(rewards, baseline).numpy()})
    return RewardFindings(
        gain=found.get("gain"),
        win_rate=found.get("win_rate"),
        num_failed=int(np.isnan(rewards).sum()),
        improvement=improvement(rewards, baseline),
        saturation=ByPolicy(sft=saturation(p_good.sft[name]), aligned=saturation(p_good.aligned[name])),
        agreement=ByPolicy(
            sft=settings.estimates(agreements(scorers_of(sft, name))),
            aligned=settings.estimates(agreements(scorers_of(aligned, name))),
        ),
    )


def scorers_of(samples: ScoredSamples, name: str) -> dict[str, FloatGrid]:
    """Everybody who scores a property: the training reward model, the held-out evaluator, gold."""
    found = {"reward": samples.rewards[name]}
    found |= {"evaluator": samples.evaluators[name]} if name in samples.evaluators else {}
    return found | ({"gold": samples.policy.gold[name]} if name in samples.policy.gold else {})


def agreements(scores: Mapping[str, FloatGrid]) -> dict[str, PerPrompt]:
    """Agreement per prompt of every two scorers of one property, named "first~second"."""
    return {f"{one}~{other}": agreement_by_prompt(scores[one], scores[other]) for one, other in combinations(scores, 2)}


def margin_correlations(margins: Grids) -> dict[str, ByPolicy[float]]:
    """Correlation of two properties' margins given the prompt, for both policies, named "first~second"."""
    return {
        f"{one}~{other}": ByPolicy(
            sft=within_prompt_correlation(margins.sft[one], margins.sft[other]),
            aligned=within_prompt_correlation(margins.aligned[one], margins.aligned[other]),
        )
        for one, other in combinations(sorted(margins.aligned), 2)
    }


def _measure(policy: ScoredSamples, sft: ScoredSamples, settings: Settings) -> Measurement:
    return measure(
        policy.policy,
        sft.policy,
        settings.bars,
        seed=settings.seed,
        num_bootstrap=settings.num_bootstrap,
        quantiles=settings.quantiles,
    )
