"""What best-of-k selects by in the study: objectives as a run file would give them, and plain length."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.best_of_k.models import Scored
from pipelines.answers.judged import judged
from pipelines.config.objectives import (
    FormulaObjective,
    LogitOfProductObjective,
    MinimumObjective,
    Objective,
    WeightedSumObjective,
)
from pipelines.config.references import QuantileReference
from pipelines.config.transforms import IdentityTransform

Floats = NDArray[np.float64]
PROPERTIES = ("helpful", "concise")
HIGH_REFERENCE = QuantileReference(quantile=0.85, method="empirical")  # the run file has the 75 % quantile

LABELS = {
    "helpful": "helpful alone",
    "concise": "concise alone",
    "raw_sum": "raw sum",
    "weighted_sum": "weighted sum, tuned",
    "lsc_sum": "LSC sum, 75 % reference",
    "lsc_sum_q85": "LSC sum, 85 % reference",
    "minimum": "minimum of margins",
    "logit_of_product": "logit of product",
    "longer": "longer answer",
    "shorter": "shorter answer",
}


def rankers(found: Scored, weights: Mapping[str, float]) -> dict[str, Floats]:
    """Scores of every row by each ranker, [rows]; NaN where a reward is missing. `weights` are of the tuned sum."""
    lsc = by_objective(found, FormulaObjective())
    texts = [response for answered in found.answers for response in answered.responses]
    words = np.array([len(text.split()) for text in texts], dtype=np.float64)
    scores = {
        "helpful": weighted_sum(found, {"helpful": 1.0, "concise": 0.0}),
        "concise": weighted_sum(found, {"helpful": 0.0, "concise": 1.0}),
        "raw_sum": weighted_sum(found, {"helpful": 1.0, "concise": 1.0}),
        "weighted_sum": weighted_sum(found, weights),
        "lsc_sum": lsc,
        "lsc_sum_q85": by_objective(found, FormulaObjective(), {"reference": HIGH_REFERENCE}),
        "minimum": by_objective(found, MinimumObjective(on="margin")),
        "logit_of_product": by_objective(found, LogitOfProductObjective()),
        "longer": words,
        "shorter": -words,
    }
    return {name: np.where(np.isfinite(lsc), values, np.nan) for name, values in scores.items()}


def weighted_sum(found: Scored, weights: Mapping[str, float]) -> Floats:
    """The weighted sum of raw rewards, [rows], centred per prompt, which changes no choice."""
    return by_objective(found, WeightedSumObjective(weights=dict(weights)), {"transform": IdentityTransform()})


def by_objective(found: Scored, objective: Objective, changes: Mapping[str, Any] | None = None) -> Floats:
    """Utility of every row, [rows], under another objective and with these settings of every property changed."""
    properties = {
        name: setting.model_copy(update=dict(changes or {})) for name, setting in found.config.properties.items()
    }
    config = found.config.model_copy(update={"properties": properties, "objective": objective})
    return judged(config, found.answers, found.raw, found.table).utilities.astype(np.float64)
