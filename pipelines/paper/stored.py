"""The stored numbers of all experiments, as curves over KL, and differences at matched KL.

`docs/results/data/study` holds both properties together, `docs/results/data/paper/<part>` the rest.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from allgood.errors import DataError
from pipelines.study.analysis import Curve, Difference, curve, matched_difference, paired

Result = Mapping[str, Any]
Metric = Callable[[Mapping[str, Any]], float]


def load_results(folder: Path, pattern: str = "seed_*.json") -> list[Result]:
    """The numbers of every seed in a folder, in order of seed; empty when nothing was run."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in folder.glob(pattern)]
    return sorted(found, key=lambda result: int(result["seed"]))


def labels_of(results: Sequence[Result]) -> list[str]:
    """The objectives that were trained, in the order in which they were."""
    return list(dict.fromkeys(arm["objective"] for result in results for arm in result["arms"]))


def trained_curves(results: Sequence[Result], label: str, metric: Metric) -> list[Curve]:
    """One curve per seed: the SFT policy at KL 0, then the arms of one objective."""
    return [
        curve(
            [(0.0, metric(result["sft"]))]
            + [(float(arm["kl"]), metric(arm)) for arm in result["arms"] if arm["objective"] == label]
        )
        for result in results
    ]


def tilted_curves(results: Sequence[Result], label: str, metric: str) -> list[Curve]:
    """One curve per seed of what tilting predicts, reliable points or not."""
    return [curve([(point["kl"], point[metric]) for point in result["tilted"][label]["tilting"]]) for result in results]


def difference_at(results: Sequence[Result], first: str, second: str, metric: Metric, kl: float) -> Difference | None:
    """`first` minus `second` at a matched KL, paired by seed."""
    return matched_difference(trained_curves(results, first, metric), trained_curves(results, second, metric), kl)


def paired_difference(first: Sequence[float], second: Sequence[float]) -> Difference | None:
    """`first` minus `second`, one value per seed each; None with fewer than two seeds."""
    return paired(np.array(first) - np.array(second)) if len(first) >= 2 else None


def near_target(results: Sequence[Result], label: str, target: float) -> list[Mapping[str, Any]]:
    """The arm of one objective at one target KL, per seed.

    Raises:
        DataError: A seed has no such arm.
    """
    found = []
    for result in results:
        arms = [arm for arm in result["arms"] if (arm["objective"], arm["target_kl"]) == (label, target)]
        if not arms:
            trained = sorted({arm["target_kl"] for arm in result["arms"] if arm["objective"] == label})
            raise DataError(
                f"seed {result['seed']} has no arm {label!r} at target KL {target:g}, only at "
                f"{', '.join(f'{kl:g}' for kl in trained) or 'none'}; run that part of the experiments again"
            )
        found += arms
    return found


def mean_with_interval(values: Sequence[float]) -> str:
    """Mean over seeds with its 95 % t-interval, as text."""
    if len(values) < 2:
        return f"{values[0]:.3f}"
    found = paired(np.array(values))
    return f"{found.mean:.3f} [{found.low:.3f}, {found.high:.3f}]"


def shown(found: Difference | None) -> str:
    """A difference with its interval and what could have been seen, as text."""
    if found is None:
        return "fewer than two seeds"
    return f"{found.mean:+.3f} [{found.low:+.3f}, {found.high:+.3f}] (detectable {found.detectable:.3f})"
