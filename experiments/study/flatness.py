"""Did a run converge? Its curve on validation prompts, and what changed over the last quarter of its steps.

The KL of the curve is `actors.learning.sequence_kl.controlled_kl`, less noisy than k1 and k3, which a change
of a few per cent needs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from pipelines.alignment.journal import VALIDATION
from pipelines.output.metrics_log import MetricsLog

MAX_CHANGE = 0.05  # of the KL and of the gain in utility, for a run to count as converged
COLUMNS = {"kl": f"{VALIDATION}kl_controlled", "utility": f"{VALIDATION}utility.mean"}


def validation_curve(metrics: Path) -> list[dict[str, float]]:
    """Step, KL and utility of every evaluation on validation prompts while training."""
    return [
        {"step": row["step"], **{name: row[column] for name, column in COLUMNS.items()}}
        for row in MetricsLog(metrics).read()
        if COLUMNS["utility"] in row
    ]


def change_over_last_quarter(curve: Sequence[Mapping[str, float]], *, sft_utility: float) -> dict[str, float]:
    """Relative change of KL and of the gain in utility from three quarters of the steps to the end.

    Raises:
        ValueError: No evaluation lies in the first three quarters.
    """
    last = curve[-1]
    before = [point for point in curve if point["step"] <= 0.75 * last["step"]]
    if not before:
        raise ValueError("no evaluation lies in the first three quarters of the steps; evaluate more often")
    start = before[-1]
    return {
        "kl": _change(start["kl"], last["kl"]),
        "utility": _change(start["utility"] - sft_utility, last["utility"] - sft_utility),
    }


def is_flat(change: Mapping[str, float]) -> bool:
    """Whether KL and utility gain changed by at most 5 %."""
    return all(abs(value) <= MAX_CHANGE for value in change.values())


def _change(before: float, after: float) -> float:
    """Relative to a value that is not taken smaller than a millionth, so that no gain at all gives a number too."""
    return (after - before) / max(abs(before), 1e-6)
