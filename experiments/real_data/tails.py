"""Whether a reward model's errors have heavy tails, by a test whose power at these numbers of answers is simulated.

The error of a reward is what a regression on the judge within its prompt leaves, divided by its standard deviation
there (studentised), so that prompts of wide spread are no tail. So few answers per prompt lighten every tail: what the
statistics are under a law of errors is simulated through the same regressions on the same judge logits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Draw = Callable[[np.random.Generator, tuple[int, ...]], Floats]

NUM_SIMULATIONS = 400
FAR = 3.0  # standard deviations
LEVEL = 0.05


@dataclass(frozen=True)
class Regressions:
    """Per prompt the answers that are known and the matrix that takes their errors to residuals."""

    known: tuple[NDArray[np.intp], ...]
    residual: tuple[Floats, ...]

    @staticmethod
    def on(*explaining: Floats) -> Regressions:
        """Of scores on a constant and these scores [prompts, answers], prompt by prompt."""
        known, residual = [], []
        for rows in zip(*explaining, strict=True):
            columns = np.flatnonzero(np.isfinite(np.stack(rows)).all(0))
            design = np.column_stack([np.ones(len(columns)), *(row[columns] for row in rows)])
            projection = design @ np.linalg.pinv(design)
            known.append(columns)
            residual.append(np.eye(len(columns)) - projection)
        return Regressions(tuple(known), tuple(residual))

    def errors(self, scores: Floats) -> list[Floats]:
        """Studentised residuals of scores [prompts, answers], per prompt [answers]."""
        return [
            _studentised(scores[prompt, columns][None], matrix)[0]
            for prompt, (columns, matrix) in enumerate(zip(self.known, self.residual, strict=True))
        ]

    def simulated(self, draw: Draw, generator: np.random.Generator, num: int) -> Floats:
        """Studentised residuals of drawn errors, [simulations, all answers]."""
        return np.concatenate(
            [_studentised(draw(generator, (num, len(matrix))), matrix) for matrix in self.residual], axis=1
        )


def laws(overrated_size: tuple[float, float]) -> Mapping[str, Draw]:
    """Laws of errors to tell apart; `overrated_size` is what overrating adds, in standard deviations of the error."""

    def overrated(generator: np.random.Generator, shape: tuple[int, ...]) -> Floats:
        added = generator.uniform(*overrated_size, shape) * (generator.random(shape) < 0.01)
        return generator.standard_normal(shape) + added

    return {
        "normal": lambda generator, shape: generator.standard_normal(shape),
        "Laplace": lambda generator, shape: generator.laplace(size=shape),
        "t(3)": lambda generator, shape: generator.standard_t(3, size=shape),
        "normal, 1 % overrated": overrated,
    }


def excess_kurtosis(errors: Floats) -> Floats:
    """Over the last axis."""
    centred = errors - errors.mean(-1, keepdims=True)
    kurtosis: Floats = (centred**4).mean(-1) / (centred**2).mean(-1) ** 2 - 3
    return kurtosis


def share_far_above(errors: Floats) -> Floats:
    """Share of the errors above `FAR`, over the last axis."""
    share: Floats = (errors > FAR).mean(-1)
    return share


STATISTICS: Mapping[str, Callable[[Floats], Floats]] = {
    "excess kurtosis": excess_kurtosis,
    "share above 3": share_far_above,
}


def tail_test(
    scores: Floats, explaining: Sequence[Floats], *, overrated: tuple[float, float], seed: int
) -> dict[str, Any]:
    """Each statistic as observed and under each law: its range, p-values, and power against normal errors.

    Power: how often the statistic exceeds what it exceeds under normal errors in 5 %. `told_from`: how often normal
    errors stay below what the law exceeds in 95 %.
    """
    regressions = Regressions.on(*explaining)
    observed = np.concatenate(regressions.errors(scores))
    generator = np.random.default_rng(seed)
    drawn = {name: regressions.simulated(draw, generator, NUM_SIMULATIONS) for name, draw in laws(overrated).items()}
    return {
        "answers": len(observed),
        "statistics": {
            name: _compared(float(statistic(observed)), {law: statistic(errors) for law, errors in drawn.items()})
            for name, statistic in STATISTICS.items()
        },
        "share_below": float((observed < -FAR).mean()),
    }


def _compared(observed: float, drawn: Mapping[str, Floats]) -> dict[str, Any]:
    normal = drawn["normal"]
    critical = np.quantile(normal, 1 - LEVEL)
    found = {}
    for law, values in drawn.items():
        low, median, high = np.quantile(values, [0.025, 0.5, 0.975])
        found[law] = {
            "low": float(low),
            "median": float(median),
            "high": float(high),
            "power": float((values > critical).mean()),
            "told_from": float((normal < np.quantile(values, LEVEL)).mean()),
            "share_as_low": float((values <= observed).mean()),
        }
    return {"observed": observed, "laws": found}


def _studentised(errors: Floats, matrix: Floats) -> Floats:
    """Residuals of errors [..., answers], over their standard deviations; 0 where nothing is left to explain."""
    residuals = errors @ matrix
    freedom = round(float(np.trace(matrix)))
    scale = np.sqrt((residuals**2).sum(-1, keepdims=True) / freedom * np.clip(np.diag(matrix), 0, 1))
    studentised: Floats = np.divide(residuals, scale, out=np.zeros_like(residuals), where=scale > 1e-12)
    return studentised
