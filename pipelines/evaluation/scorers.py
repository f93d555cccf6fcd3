"""What learned scorers say: the held-out preference model against its own pi_0 quantile, and how far to trust both.

A reward model is never called a judge. `rewards` are raw, [prompts, samples], NaN where scoring failed; the reward of a
prompt is known only up to a constant, so every number here compares samples of one prompt, or uses a reference.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from allgood.treatment import Treatment, treat
from allgood.views import PropertyView
from pipelines.evaluation.estimates import PerPrompt
from pipelines.evaluation.measure import FloatGrid

MIN_SAMPLES_PER_QUANTILE = 8


@contextmanager
def _quiet_about_prompts_without_scores() -> Iterator[None]:
    """NaN is what such a prompt is to get; numpy would warn of each."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Mean of empty slice|All-NaN slice", RuntimeWarning)
        yield


@_quiet_about_prompts_without_scores()
def sft_quantile(sft: FloatGrid, quantile: float) -> PerPrompt:
    """The bar of evaluator 2 per prompt, [prompts]: an empirical quantile of the pi_0 samples' scores.

    With few samples per prompt the bar is the prompt's mean plus the quantile of all prompts' deviations from theirs.
    """
    if sft.shape[1] >= MIN_SAMPLES_PER_QUANTILE:
        bars: PerPrompt = np.nanquantile(sft, quantile, axis=1)
        return bars
    means = np.nanmean(sft, axis=1)
    shifted: PerPrompt = means + _pooled_shift(sft, quantile)
    return shifted


@_quiet_about_prompts_without_scores()
def sft_share_over(sft: FloatGrid, quantile: float) -> PerPrompt:
    """`share_over` of the start policy itself, [prompts]: each sample against the bar that the others give.

    A sample that has a part in its own bar would lie over it too seldom: with 16 samples and a bar of 95 % in 6 % of
    cases, where another sample of the same policy does in 10 %. A prompt with a single sample has no share: NaN.
    """
    num_samples = sft.shape[1]
    if num_samples == 1:
        return np.full(len(sft), np.nan)
    few, shift = num_samples < MIN_SAMPLES_PER_QUANTILE, _pooled_shift(sft, quantile)
    shares = []
    for index in range(num_samples):
        others = np.delete(sft, index, axis=1)
        bars = np.nanmean(others, axis=1) + shift if few else np.nanquantile(others, quantile, axis=1)
        shares.append(share_over(sft[:, [index]], bars))
    found: PerPrompt = np.nanmean(np.stack(shares), axis=0)
    return found


def _pooled_shift(sft: FloatGrid, quantile: float) -> float:
    """How far the quantile lies over a prompt's mean, from the deviations of all prompts together."""
    return float(np.nanquantile(sft - np.nanmean(sft, axis=1, keepdims=True), quantile))


def share_over(scores: FloatGrid, bars: PerPrompt) -> PerPrompt:
    """Share of each prompt's samples over its bar, ties one half, [prompts]; failed scores are left out.

    NaN where a prompt has no bar or no score.
    """
    known = np.isfinite(scores) & np.isfinite(bars)[:, None]
    wins = np.where(known, (scores > bars[:, None]) + 0.5 * (scores == bars[:, None]), 0.0)
    with np.errstate(invalid="ignore"):
        share: PerPrompt = wins.sum(axis=1) / known.sum(axis=1)
    return share


def fresh_view(treatment: Treatment, rewards: FloatGrid, prompt_ids: Sequence[str]) -> PropertyView:
    """Margins and P(good) of samples on prompts without a reference table, [prompts, samples].

    The utilities are those of the treatment where it gives log P(good), else the margins.
    """
    if not treatment.facts.is_log_prob:  # others may need moments of a table, and only the margins are asked for
        treatment = replace(treatment, transform="identity", options={})
    return treat(treatment, rewards.astype(np.float32), prompt_ids, property_name="evaluation")
