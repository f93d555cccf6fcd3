"""The rows that a reader looks at: the best, the worst and the most changed responses, alongside a pi_0 response."""

from __future__ import annotations

import numpy as np

from pipelines.evaluation.measure import FloatGrid
from pipelines.evaluation.measurements import SampleRow
from pipelines.evaluation.samples import ScoredSamples

NUM_ROWS = 6  # of each kind, each from another prompt


def sample_table(aligned: ScoredSamples, sft: ScoredSamples) -> tuple[SampleRow, ...]:
    """Rows "best" and "worst" (by gold, else evaluators, else rewards) and "most changed" (by log pi/pi_0)."""
    value = _value(aligned, sft)
    kinds = {"best": -value, "worst": value, "most changed": -aligned.policy.kl}
    return tuple(
        _row(kind, aligned, sft, prompt, sample)
        for kind, order in kinds.items()
        for prompt, sample in _first_of_prompts(order)
    )


def ranked_by(samples: ScoredSamples) -> str:
    """By whose scores best and worst are meant."""
    if samples.policy.gold:
        return "gold"
    return "held-out evaluators" if samples.evaluators else "training reward models"


def _value(aligned: ScoredSamples, sft: ScoredSamples) -> FloatGrid:
    """Mean over properties of the score in pi_0 standard deviations, [prompts, samples]; NaN if failed."""
    scores = aligned.policy.gold or aligned.evaluators or aligned.rewards
    baseline = sft.policy.gold or sft.evaluators or sft.rewards
    spreads = {name: max(float(np.nanstd(baseline[name])), 1e-9) for name in scores}
    value: FloatGrid = np.mean([(scores[name] - np.nanmean(baseline[name])) / spreads[name] for name in scores], axis=0)
    return value


def _first_of_prompts(order: FloatGrid) -> list[tuple[int, int]]:
    """The samples with the lowest `order`, one per prompt; failed ones (NaN) never."""
    known = np.where(np.isfinite(order), order, np.inf)
    best = known.argmin(axis=1)
    lowest = known.min(axis=1)
    prompts = [int(prompt) for prompt in np.argsort(lowest, kind="stable") if np.isfinite(lowest[prompt])]
    return [(prompt, int(best[prompt])) for prompt in prompts[:NUM_ROWS]]


def _row(kind: str, aligned: ScoredSamples, sft: ScoredSamples, prompt: int, sample: int) -> SampleRow:
    return SampleRow(
        kind=kind,
        prompt_id=aligned.policy.prompt_ids[prompt],
        prompt=aligned.prompts[prompt],
        response=aligned.policy.responses[prompt][sample],
        sft_response=sft.policy.responses[prompt][0],
        kl=float(aligned.policy.kl[prompt, sample]),
        numbers=_numbers(aligned, prompt, sample),
        sft_numbers=_numbers(sft, prompt, 0),
    )


def _numbers(samples: ScoredSamples, prompt: int, sample: int) -> dict[str, float]:
    """Per property and scorer, such as "helpful gold"."""
    by_kind = {"gold": samples.policy.gold, "reward": samples.rewards, "evaluator": samples.evaluators}
    return {
        f"{name} {kind}": float(grid[prompt, sample]) for kind, grids in by_kind.items() for name, grid in grids.items()
    }
