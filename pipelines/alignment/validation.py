"""Validation while training: the policy's own samples on validation prompts, with the same random numbers every time.

The score that chooses the best checkpoint is the both-good rate where gold exists (a choice that gold makes is only
possible on the embedded world), else the mean utility minus gamma times the KL.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from actors.learning.sequence_kl import controlled_kl, sequence_k1
from actors.messages import Experience, FloatRow
from allgood.all_good import AllGood, Judged
from pipelines.alignment.batch import rollout_metrics, score_metrics
from pipelines.alignment.loop import State, Validation
from pipelines.cast.collect import Crew, collect_all, make_chunks
from pipelines.cast.experience import judged, merged_scores, texts
from pipelines.cast.sample_rows import of_property, rollout_columns, sample_rows
from pipelines.data import Prompt
from pipelines.objective.gold import Gold, GoldScores

Judge = Callable[[Sequence[Experience]], Awaitable[Mapping[str, float]]]
"""Further metrics of an evaluation, from everything that was sampled."""

NUM_SHOWN = 16  # sample rows kept of each evaluation


@dataclass(frozen=True)
class Validator:
    """What every evaluation of a run has in common. `seed` is not the one of training."""

    crew: Crew
    prompts: Sequence[Prompt]
    all_good: AllGood
    gold: Gold | None
    seed: int
    samples_per_prompt: int
    prompts_per_chunk: int
    judge: Judge | None = None

    async def __call__(self, state: State) -> Validation:
        """Sample, score and measure the policy of `state`, which the rollout actors must hold."""
        chunks = make_chunks(
            self.prompts,
            seed=self.seed,
            step=0,  # the same draws at every evaluation, so that differences are the policy's
            policy_version=state.policy_version,
            samples_per_prompt=self.samples_per_prompt,
            prompts_per_chunk=self.prompts_per_chunk,
        )
        experience = await collect_all(chunks, self.crew, advance=lambda num_prompts: None)
        gold = self._gold_scores(experience)
        found = judged(experience, self.all_good.at(state.multipliers))
        utilities = found.utilities
        logprobs, reference = _logprobs(experience)
        kl = sequence_k1(logprobs, reference)
        metrics = {
            **score_metrics(merged_scores(experience)),
            **rollout_metrics(experience),
            **self._gold_metrics(gold),
            "utility.mean": float(np.nanmean(utilities)) if np.isfinite(utilities).any() else float("nan"),
            "kl_k1_mean": float(kl.mean()),
            "kl_controlled": controlled_kl(logprobs, reference),
            **(await self.judge(experience) if self.judge else {}),
        }
        score = metrics["both_good"] if gold else metrics["utility.mean"] - state.kl_coefficient * metrics["kl_k1_mean"]
        samples = shown_rows(experience, found, kl, gold, step=state.step)
        return Validation(score, metrics["kl_k1_mean"], _finite(metrics), samples)

    def _gold_scores(self, experience: Sequence[Experience]) -> GoldScores:
        if self.gold is None:
            return {}
        prompts, responses = texts(experience)
        return self.gold.score(prompts, responses)

    def _gold_metrics(self, scores: GoldScores) -> dict[str, float]:
        if self.gold is None:
            return {}
        means = {f"gold.{name}": float(np.mean(values)) for name, values in scores.items()}
        return {**means, "both_good": float(np.mean(self.gold.all_good(scores)))}


def shown_rows(
    experience: Sequence[Experience], found: Judged, kl: np.ndarray, gold: GoldScores, *, step: int
) -> list[dict[str, Any]]:
    """Rows for `samples.parquet`: the first samples of the first prompts, the same prompts at every evaluation."""
    columns: dict[str, Sequence[Any] | np.ndarray] = {
        "step": [step] * len(found.utilities),
        **rollout_columns(experience),
        "kl": kl,
        "utility": found.utilities,
        **of_property("reward", {name: view.rewards for name, view in found.properties.items()}),
        **of_property("reference", {name: view.references for name, view in found.properties.items()}),
        **of_property("utility", {name: view.utilities for name, view in found.properties.items()}),
        **of_property("gold", gold),
    }
    return sample_rows({name: values[:NUM_SHOWN] for name, values in columns.items()})


def _logprobs(experience: Sequence[Experience]) -> tuple[list[FloatRow], list[FloatRow]]:
    """Of the policy and of the reference policy, a row per response."""
    own = [row for chunk in experience for row in chunk.rollout.logprobs]
    return own, [row for chunk in experience for row in chunk.reference.rows]


def _finite(metrics: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if np.isfinite(value)}
