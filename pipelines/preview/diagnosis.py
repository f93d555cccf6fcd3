"""The diagnosis of a run: its cached samples as `allgood.diagnosis` reads them, with whoever judges them.

Rewards are the run's own margins, divided by a temperature where it has one. Gold judges where it has a bar for every
property, else the held-out models where every property has one, over the quantiles of their scores that evaluation
uses; else nobody.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from allgood.diagnosis.samples import DiagnosedSamples
from allgood.views import PropertyView
from pipelines.config.run import RunConfig
from pipelines.references.cached_samples import CachedSamples

Judge = Literal["gold", "held-out models"]
Floats = NDArray[np.float64]

_DEFAULT_QUANTILE = 0.85


@dataclass(frozen=True)
class Diagnosable:
    """Samples that can be diagnosed, and what judges them; or why they cannot be."""

    samples: DiagnosedSamples | None
    judge: Judge | None = None
    why_not: str = ""


def diagnosable(
    config: RunConfig, cached: CachedSamples, views: Mapping[str, PropertyView], bars: Mapping[str, float]
) -> Diagnosable:
    """What a run's samples are to a diagnosis.

    Args:
        config: The run.
        cached: Its samples, without prompts of failed scores.
        views: What the run makes of its rewards.
        bars: Gold from which a response is good, per property; empty without gold.
    """
    pointwise = [name for name, view in views.items() if view.good_from != "margin"]
    if pointwise:
        return Diagnosable(
            None,
            why_not=f"{', '.join(pointwise)} gives a probability, not a reward that a reference centres: there is no "
            "choice between raw and log-sigmoid to diagnose.",
        )
    centred = {name: _centred(view) for name, view in views.items()}
    names = tuple(config.properties)
    rewards = np.stack([centred[name][0] for name in names])
    references = np.stack([centred[name][1] for name in names])
    judge, scores, at_bar = _judged(config, cached, bars)
    return Diagnosable(DiagnosedSamples(names, rewards, references, scores, at_bar), judge)


def _centred(view: PropertyView) -> tuple[Floats, Floats]:
    """Rewards and references; the 85 % quantile, as a Gaussian of the samples, where the run has no reference."""
    margins = view.margins.astype(np.float64)
    has_reference = np.isfinite(margins).all() and np.any(view.references != 0)
    rewards = margins if has_reference else view.rewards.astype(np.float64)
    quantile = rewards.mean(-1) + ndtri(_DEFAULT_QUANTILE) * rewards.std(-1, ddof=1)
    return rewards, np.zeros(len(rewards)) if has_reference else quantile


def _judged(
    config: RunConfig, cached: CachedSamples, bars: Mapping[str, float]
) -> tuple[Judge | None, Floats | None, Floats | None]:
    """Who judges, scores [properties, prompts, samples] and bars [properties, prompts]."""
    names = list(config.properties)
    if bars and set(names) <= bars.keys():
        scores = np.stack([cached.gold[name].numpy() for name in names])
        return "gold", scores, np.array([[bars[name]] for name in names]) * np.ones(scores.shape[:2])
    if set(names) <= cached.evaluators.keys():
        scores = np.stack([cached.evaluators[name].numpy() for name in names])
        quantiles = [config.evaluate.quantiles.get(name, _DEFAULT_QUANTILE) for name in names]
        at_bar = [np.quantile(each, q, axis=-1) for each, q in zip(scores, quantiles, strict=True)]
        return "held-out models", scores, np.stack(at_bar)
    return None, None, None
