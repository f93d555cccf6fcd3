"""Did the arms converge? What changed in the last quarter of their steps, on validation prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Result = Mapping[str, Any]


@dataclass(frozen=True)
class LastQuarter:
    """Relative change from the last evaluation but one to the last: of the KL, and of the utility's gain over SFT."""

    kl: float
    utility: float | None  # None where the tilt could not show the run's KL, so that the gain is unknown


def last_quarter(arm: Mapping[str, Any]) -> LastQuarter:
    """From the validation curve of an arm whose evaluations are a quarter of the run apart."""
    before, last = arm["curve"][-2], arm["curve"][-1]
    gain = arm["efficiency"]["achieved_gain"] if arm["efficiency"] else None
    return LastQuarter(
        kl=abs(last["kl"] - before["kl"]) / last["kl"],
        utility=abs(last["utility"] - before["utility"]) / gain if gain else None,
    )


def convergence_table(results: Sequence[Result], objectives: Mapping[str, str]) -> list[str]:
    """Per objective and target KL: coefficient, measured KL, changes in the last quarter, efficiency; means."""
    rows = [
        "| objective | target KL | gamma | measured KL | change of KL | change of utility gain | efficiency |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
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
                rows.append(f"| {label} | {target:g} | " + " | ".join(_cells(arms)) + " |")
    return rows


def _cells(arms: Sequence[Mapping[str, Any]]) -> list[str]:
    changes = [last_quarter(arm) for arm in arms]
    gains = [change.utility for change in changes if change.utility is not None]
    efficiencies = [arm["efficiency"]["value"] for arm in arms if arm["efficiency"]]
    return [
        f"{np.mean([arm['gamma'] for arm in arms]):.3g}",
        f"{np.mean([arm['kl'] for arm in arms]):.2f}",
        f"{np.mean([change.kl for change in changes]):.1%}",
        f"{np.mean(gains):.1%}" if gains else "-",
        f"{np.mean(efficiencies):.2f}" if efficiencies else "-",
    ]
