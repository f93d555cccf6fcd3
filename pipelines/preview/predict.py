"""From utilities to predictions: the tilt for each KL, best-of-k for each k, and what both would be worth.

Everything is an average over prompts of weights times values; nothing is drawn at random. Settings whose utilities
differ by a constant per prompt have the same optimum (raw sums under any reference): they are computed once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from allgood.best_of_k import kl_bound, kl_estimate, selection_weights
from allgood.opponents import best_of_k_win_rate, weighted_win_rate
from allgood.tilting import Tilt, solve_gamma, tilt
from pipelines.preview.measures import FEW_FOLDS, Measures

_SAME = 1e-5  # nats; utilities come from float32 rewards


@dataclass(frozen=True)
class Levels:
    """At which KLs a setting is predicted: nats to reach, coefficients to take, and ks of best-of-k."""

    target_kls: Sequence[float]
    coefficients: Sequence[float]
    best_of_k: Sequence[int]


@dataclass(frozen=True)
class Prediction:
    """One method at one KL. `problem` says why there are no numbers; `reliable` is the tilt's flag.

    `numbers` are means over prompts; `by_prompt` [prompts] is the headline metric, for paired differences.
    """

    method: str  # "tilt" or "best_of_k"
    target_kl: float | None = None
    gamma: float | None = None
    k: int | None = None
    reliable: bool = False
    numbers: dict[str, float] = field(default_factory=dict)
    by_prompt: Tensor | None = None
    problem: str | None = None


def predict(utilities: Tensor, levels: Levels, measures: Measures, *, headline: str) -> list[Prediction]:
    """Predictions of one setting, in the order of `levels`.

    Args:
        utilities: [prompts, samples], in nats, of the prompts of `measures`.
        levels: KLs and ks; a k whose samples do not suffice is left out.
        measures: What is averaged.
        headline: The metric whose values by prompt are kept.
    """
    tilted = _tilted(utilities, levels, measures, headline)
    return tilted + _best_of_k(utilities, levels.best_of_k, measures, headline)


def largest_k(num_samples: int) -> int:
    """Up to here best-of-k can be compared with samples that it did not choose from."""
    return num_samples - math.ceil(num_samples / min(FEW_FOLDS, num_samples))


def _tilted(utilities: Tensor, levels: Levels, measures: Measures, headline: str) -> list[Prediction]:
    asked: list[tuple[float | None, float | str]] = [
        (target, _gamma(utilities, target)) for target in levels.target_kls
    ]
    asked += [(None, coefficient) for coefficient in levels.coefficients]
    tilts = [tilt(utilities, gamma) for _, gamma in asked if not isinstance(gamma, str)]
    if tilts:
        weights = torch.stack([tilted.weights for tilted in tilts])
        rows = _numbers(weights, weighted_win_rate(weights, measures.wins), utilities, measures)
    else:
        rows = []
    possible = iter(zip(tilts, rows, strict=True))
    found = []
    for target, gamma in asked:
        if isinstance(gamma, str):
            found.append(Prediction("tilt", target_kl=target, problem=gamma))
            continue
        tilted, (numbers, by_prompt) = next(possible)
        found.append(
            Prediction(
                "tilt",
                target_kl=target,
                gamma=gamma,
                reliable=tilted.reliable,
                numbers=_shown(tilted) | numbers,
                by_prompt=by_prompt[headline],
            )
        )
    return found


def _gamma(utilities: Tensor, target_kl: float) -> float | str:
    """The coefficient for a target, or why the samples cannot reach it."""
    try:
        return solve_gamma(utilities, target_kl)
    except ValueError as error:  # shapes and finiteness were checked: only the reach is left
        return str(error)


def _shown(tilted: Tilt) -> dict[str, float]:
    return {
        "kl": float(tilted.kl.mean()),
        "kl_half_samples": float(tilted.half_sample_kl.mean()),
        "effective_samples": float(tilted.effective_sample_size.mean()),
    }


def _best_of_k(utilities: Tensor, ks: Sequence[int], measures: Measures, headline: str) -> list[Prediction]:
    ks = [k for k in ks if k <= largest_k(utilities.shape[1])]
    if not ks:
        return []
    weights = selection_weights(utilities, ks)
    wins = best_of_k_win_rate(utilities, ks, measures.few_wins)
    rows = _numbers(weights, wins, utilities, measures)
    return [
        Prediction(
            "best_of_k",
            k=k,
            reliable=True,  # unbiased for every k up to here
            numbers={
                "kl": kl_estimate(utilities, k),
                "kl_bound": kl_bound(k),
                "effective_samples": float((1 / chosen.square().sum(-1)).mean()),
            }
            | numbers,
            by_prompt=by_prompt[headline],
        )
        for k, chosen, (numbers, by_prompt) in zip(ks, weights, rows, strict=True)
    ]


def _numbers(
    weights: Tensor, wins: Tensor, utilities: Tensor, measures: Measures
) -> list[tuple[dict[str, float], dict[str, Tensor]]]:
    """Per level: means over prompts and their standard errors, and the values by prompt.

    `weights` is [levels, prompts, samples], `wins` [levels, prompts, comparisons].
    """
    values = (weights.transpose(0, 1) @ measures.values).transpose(0, 1)  # [levels, prompts, names]
    gains = (weights * utilities).sum(-1) - utilities.mean(-1)
    win_means = {
        f"{kind}_win_rate": wins[..., chosen].mean(-1, keepdim=True)
        for kind in ("gold", "evaluator", "reward")
        if (chosen := [i for i, name in enumerate(measures.comparisons) if name.startswith(f"{kind}_win_rate.")])
    }
    names = [*measures.names, *measures.comparisons, *win_means, "utility_gain"]
    columns = torch.cat([values, wins, *win_means.values(), gains.unsqueeze(-1)], dim=-1)  # [levels, prompts, all]
    means, errors = columns.mean(1), columns.std(1) / math.sqrt(columns.shape[1])
    rows = []
    for level in range(len(weights)):
        numbers = dict(zip(names, means[level].tolist(), strict=True))
        numbers |= {f"{name}_se": error for name, error in zip(names, errors[level].tolist(), strict=True)}
        rows.append((numbers, {name: columns[level, :, index] for index, name in enumerate(names)}))
    return rows


class SameUtilities:
    """Recognises utilities that differ from earlier ones by a constant per prompt, hence have the same optimum."""

    def __init__(self) -> None:
        self._known: dict[float, list[tuple[int, Tensor]]] = {}

    def first_like(self, index: int, utilities: Tensor) -> int:
        """The index of the first utilities like these; `index`, which is remembered, if there are none."""
        centred = (utilities - utilities.mean(-1, keepdim=True)).float()
        sketch = round(float(centred.std()), 3)
        # A value near the edge of a rounding step may lie in the neighbouring one.
        for known, other in (entry for step in (-0.001, 0.0, 0.001) for entry in self._entries(sketch + step)):
            if torch.allclose(centred, other, rtol=0.0, atol=_SAME):
                return known
        self._entries(sketch).append((index, centred))
        return index

    def _entries(self, sketch: float) -> list[tuple[int, Tensor]]:
        return self._known.setdefault(round(sketch, 3), [])
