"""What best-of-k selects by in the study: the objectives of run files, two more aggregations, and plain length."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from allgood.aggregation import logit_of_product, minimum
from pipelines.answers.judged import Judged, judged
from pipelines.best_of_k_study.models import Scored
from pipelines.config.references import QuantileReference
from pipelines.config.rl import FormulaObjective, WeightedSumObjective
from pipelines.config.run import RunConfig
from pipelines.config.transforms import IdentityTransform

Floats = NDArray[np.float64]
PROPERTIES = ("helpful", "concise")

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
    lsc = lsc_sum(found)
    margins = {name: torch.from_numpy(_filled(view.margins)) for name, view in lsc.properties.items()}
    missing = ~np.isfinite(lsc.utilities)
    texts = [response for answered in found.answers for response in answered.responses]
    words = np.array([len(text.split()) for text in texts], dtype=np.float64)
    scores = {
        "helpful": weighted_sum(found, {"helpful": 1.0, "concise": 0.0}),
        "concise": weighted_sum(found, {"helpful": 0.0, "concise": 1.0}),
        "raw_sum": weighted_sum(found, {"helpful": 1.0, "concise": 1.0}),
        "weighted_sum": weighted_sum(found, weights),
        "lsc_sum": lsc.utilities.astype(np.float64),
        "lsc_sum_q85": lsc_sum(found, quantile=0.85).utilities.astype(np.float64),
        "minimum": minimum(margins).numpy(),
        "logit_of_product": logit_of_product(margins).numpy(),
        "longer": words,
        "shorter": -words,
    }
    return {name: np.where(missing, np.nan, values) for name, values in scores.items()}


def lsc_sum(found: Scored, *, quantile: float | None = None) -> Judged:
    """log P(all good) as the run file has it, or with another quantile as reference."""
    config = found.config if quantile is None else _with_quantile(found.config, quantile)
    return judged(config, found.answers, found.raw, found.table)


def weighted_sum(found: Scored, weights: Mapping[str, float]) -> Floats:
    """The weighted sum of raw rewards, [rows], centred per prompt, which changes no choice."""
    properties = {
        name: setting.model_copy(update={"transform": IdentityTransform()})
        for name, setting in found.config.properties.items()
    }
    objective = WeightedSumObjective(weights=dict(weights))
    config = found.config.model_copy(update={"properties": properties, "objective": objective})
    return judged(config, found.answers, found.raw, found.table).utilities.astype(np.float64)


def _with_quantile(config: RunConfig, quantile: float) -> RunConfig:
    reference = QuantileReference(quantile=quantile, method="empirical")
    properties: dict[str, Any] = {
        name: setting.model_copy(update={"reference": reference}) for name, setting in config.properties.items()
    }
    return config.model_copy(update={"properties": properties, "objective": FormulaObjective()})


def _filled(margins: NDArray[np.float32]) -> Floats:
    """Margins with 0 where they are missing; the caller masks these rows."""
    return np.nan_to_num(margins.astype(np.float64), nan=0.0)
