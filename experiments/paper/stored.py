"""The stored numbers of all experiments, as curves over KL, and differences at matched KL.

`docs/results/data/study` holds both properties together, `docs/results/data/paper/<part>` the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allgood.diagnostics import CURVE_PERCENTILES
from allgood.errors import DataError
from experiments.study.analysis import Curve, Difference, curve, matched_difference, paired
from pipelines.output.stamp import load_together

Result = Mapping[str, Any]
Metric = Callable[[Mapping[str, Any]], float]
FloatRow = NDArray[np.float64]


def load_results(folder: Path, pattern: str = "seed_*.json") -> list[Result]:
    """The numbers of every seed in a folder, in order of seed; empty when nothing was run.

    Raises:
        DataError: They are of different versions.
    """
    return sorted(load_together(folder.glob(pattern)), key=lambda result: int(result["seed"]))


def labels_of(results: Sequence[Result]) -> list[str]:
    """The objectives that were trained, in the order in which they were."""
    return list(dict.fromkeys(arm["objective"] for result in results for arm in result["arms"]))


def targets_of(results: Sequence[Result]) -> list[float]:
    """The target KLs that were trained."""
    return sorted({float(arm["target_kl"]) for arm in results[0]["arms"]})


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


def reliable_up_to(results: Sequence[Result], label: str) -> list[float]:
    """Per seed, the KL up to which its samples support what tilting predicts; 0 where not even the lowest point."""
    reached = []
    for result in results:
        points = sorted(result["tilted"][label]["tilting"], key=lambda point: float(point["kl"]))
        good = list(takewhile(lambda point: point["reliable"], points))
        reached.append(float(good[-1]["kl"]) if good else 0.0)
    return reached


def arm_curves(results: Sequence[Result], label: str, metric: Metric) -> list[Curve]:
    """One curve per seed of the arms alone: for metrics that the SFT policy, compared with itself, has no value of."""
    return [
        curve([(float(arm["kl"]), metric(arm)) for arm in result["arms"] if arm["objective"] == label])
        for result in results
    ]


def matched_gains(results: Sequence[Result], label: str, name: str, kl: float) -> FloatRow | None:
    """Percentiles of the prompts' gains in gold at a matched KL, mean over the seeds that reach it."""

    def gains(percentile: int) -> list[Curve]:
        return arm_curves(results, label, lambda arm: float(arm["improvement"][name]["gains_at"][percentile]))

    rows = [[found.at(kl) for found in gains(index)] for index in range(len(CURVE_PERCENTILES))]
    known = np.array([[value for value in row if value is not None] for row in rows])
    return known.mean(axis=1) if known.size else None


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
    interval = f"[{found.low:+.3f}, {found.high:+.3f}]"
    return f"{found.mean:+.3f} {interval} (detectable {found.detectable:.3f}, {found.num_seeds} seeds)"
