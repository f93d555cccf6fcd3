"""Did the arms converge? What changed in the last quarter of their steps on validation prompts, over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from actors.tables import markdown_table
from allgood.intervals import t_interval
from experiments.study.flatness import MAX_CHANGE, is_flat

Result = Mapping[str, Any]
CHANGES = ("change of KL [95 %]", "change of utility gain [95 %]")
COLUMNS = ("objective", "target KL", "gamma", "KL", *CHANGES, "efficiency")
EFFICIENCY = (
    "*Efficiency* is the achieved over the possible gain in utility at the measured KL, on validation prompts. *!*: "
    "the samples of at least one seed are too few for that KL, so that the possible gain reads too low."
)


def convergence_table(results: Sequence[Result], objectives: Mapping[str, str]) -> list[str]:
    """Per objective and target KL, over seeds: coefficient, measured KL, changes in the last quarter, efficiency."""
    rows = []
    targets = sorted({arm["target_kl"] for arm in results[0]["arms"]})
    for objective, label in objectives.items():
        for target in targets:
            arms = [
                arm
                for result in results
                for arm in result["arms"]
                if (arm["objective"], arm["target_kl"]) == (objective, target)
            ]
            if arms:
                rows.append([label, f"{target:g}", *_cells(arms)])
    return markdown_table(COLUMNS, rows, align="lrrrrrr")


def convergence_in_words(arms: Sequence[Mapping[str, Any]]) -> str:
    """How many of these arms had converged, and how much they changed on average."""
    num_flat = sum(is_flat(arm["change"]) for arm in arms)
    return (
        f"{num_flat} of {len(arms)} arms are flat: KL and gain in utility on validation prompts changed by at most "
        f"{MAX_CHANGE:.0%} over the last quarter of the {arms[0]['steps']} steps. Mean change over all: KL "
        f"{mean_change([arm['change']['kl'] for arm in arms])}, utility "
        f"{mean_change([arm['change']['utility'] for arm in arms])}."
    )


def _cells(arms: Sequence[Mapping[str, Any]]) -> list[str]:
    return [
        f"{np.mean([arm['gamma'] for arm in arms]):.3g}",
        f"{np.mean([arm['kl'] for arm in arms]):.2f}",
        mean_change([arm["change"]["kl"] for arm in arms]),
        mean_change([arm["change"]["utility"] for arm in arms]),
        _mean_efficiency([arm["efficiency"] for arm in arms if arm["efficiency"]], len(arms)),
    ]


def _mean_efficiency(known: Sequence[Mapping[str, Any]], num_seeds: int) -> str:
    if not known:
        return "-"
    mark = "" if all(efficiency["reliable"] for efficiency in known) else " !"
    seeds = "" if len(known) == num_seeds else f" ({len(known)} of {num_seeds} seeds)"
    return f"{np.mean([efficiency['value'] for efficiency in known]):.2f}{mark}{seeds}"


def mean_change(changes: Sequence[float]) -> str:
    """Mean of relative changes with its 95 % t-interval, in per cent."""
    if len(changes) == 1:
        return f"{changes[0]:+.1%}"
    interval = t_interval(changes)
    return f"{interval.value:+.1%} [{interval.low:+.1%}, {interval.high:+.1%}]"
