"""From the experience of a step to its batch: combine utilities, drop what failed, count everything."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from actors.learning.sequence_kl import sequence_k1, sequence_k3
from actors.messages import Batch, Experience, FloatRow, Scores
from allgood.all_good import AllGood
from allgood.errors import TrainingError
from allgood.guards import kept_rows
from pipelines.alignment.loop import Assembled, State
from pipelines.cast.experience import groups_of, judged, merged_scores
from pipelines.objective.guards import refuse_too_many_failures


def assemble(experience: Sequence[Experience], state: State, *, all_good: AllGood, max_nan_share: float) -> Assembled:
    """The batch of a step in chunk order, and its metrics.

    Raises:
        TrainingError: Too many scores failed, or no prompt has two scored samples left.
    """
    scores = merged_scores(experience)
    refuse_too_many_failures(scores, max_nan_share=max_nan_share, step=state.step)
    utilities = judged(experience, all_good.at(state.multipliers)).utilities
    groups = groups_of(experience)
    kept = kept_rows(utilities, groups)
    if not len(kept):
        raise TrainingError(f"step {state.step}: no prompt has two samples with all scores; nothing to learn from")
    batch = _batch(experience, state, utilities, groups, kept)
    kl = sequence_k1(batch.logprobs, batch.reference_logprobs)
    metrics = {
        **score_metrics(scores),
        **rollout_metrics(experience),
        "utility.mean": float(np.mean(batch.utilities)),
        "utility.std": float(np.std(batch.utilities)),
        "kl_k1_sum": float(np.mean(kl)),
        "kl_k3_mean": float(np.sum(sequence_k3(batch.logprobs, batch.reference_logprobs)))
        / sum(len(row) for row in batch.logprobs),
        "gamma": state.kl_coefficient,
        **{f"multiplier.{name}": value for name, value in state.multipliers.items()},
        "rollout_version": float(batch.policy_version),
        "staleness": float(state.policy_version - batch.policy_version),
        "num_samples": float(len(utilities)),
        "num_dropped_samples": float(len(utilities) - len(kept)),
        "num_dropped_prompts": float(len(np.unique(groups)) - len(np.unique(groups[kept]))),
    }
    return Assembled(batch, metrics["kl_k1_sum"], len(kept), metrics, _role_seconds(experience, scores))


def _batch(
    experience: Sequence[Experience],
    state: State,
    utilities: FloatRow,
    groups: NDArray[np.int64],
    kept: NDArray[np.int64],
) -> Batch:
    prompts = [
        tokens
        for chunk in experience
        for tokens in chunk.rollout.prompt_tokens
        for _ in range(chunk.rollout.chunk.samples_per_prompt)
    ]
    responses = [tokens for chunk in experience for tokens in chunk.rollout.response_tokens]
    logprobs = [row for chunk in experience for row in chunk.rollout.logprobs]
    references = [row for chunk in experience for row in chunk.reference.rows]
    return Batch(
        step=state.step,
        prompt_tokens=tuple(prompts[row] for row in kept),
        response_tokens=tuple(responses[row] for row in kept),
        logprobs=tuple(logprobs[row] for row in kept),
        reference_logprobs=tuple(references[row] for row in kept),
        utilities=utilities[kept],
        groups=groups[kept],
        kl_coefficient=state.kl_coefficient,
        policy_version=experience[0].rollout.chunk.policy_version,
    )


def score_metrics(scores: dict[str, Scores]) -> dict[str, float]:
    """Mean and standard deviation of r, r_ref, z and u per property over the rows that have a score."""
    metrics: dict[str, float] = {}
    for name, part in scores.items():
        views = {
            "reward": part.view.rewards,
            "reference": part.view.references,
            "margin": part.view.margins,
            "utility": part.view.utilities,
        }
        for view, values in views.items():
            finite = values[np.isfinite(values)]
            if len(finite):  # nothing scored has no mean; a 0 would read as a number
                metrics[f"{view}.{name}.mean"] = float(finite.mean())
                metrics[f"{view}.{name}.std"] = float(finite.std())
        metrics[f"num_failed_scores.{name}"] = float(np.isnan(part.view.utilities).sum())
        metrics[f"num_scoring_prompts_cut.{name}"] = float(part.num_prompts_cut)
    return metrics


def rollout_metrics(experience: Sequence[Experience]) -> dict[str, float]:
    """Lengths in tokens, the share cut at the limit, mean entropy per token in nats."""
    rollouts = [chunk.rollout for chunk in experience]
    lengths = np.array([len(tokens) for rollout in rollouts for tokens in rollout.response_tokens])
    reasons = [reason for rollout in rollouts for reason in rollout.finish_reasons]
    return {
        "entropy": float(np.concatenate([row for rollout in rollouts for row in rollout.entropies]).mean()),
        "response_tokens.mean": float(lengths.mean()),
        "response_tokens.max": float(lengths.max()),
        "num_tokens": float(lengths.sum()),
        "share_cut": sum(reason == "length" for reason in reasons) / len(reasons),
        "num_prompts_cut": float(sum(rollout.num_prompts_cut for rollout in rollouts)),
    }


def _role_seconds(experience: Sequence[Experience], scores: dict[str, Scores]) -> dict[str, float]:
    return {
        "generate": sum(chunk.rollout.seconds for chunk in experience),
        **{f"score.{name}": part.seconds for name, part in scores.items()},
        "reference": sum(chunk.reference.seconds for chunk in experience),
    }
