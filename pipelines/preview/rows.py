"""A preview as a flat table: one row per setting and KL, with numbers that are null where there are none."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from pipelines.preview.names import overrides_of
from pipelines.preview.predict import Prediction
from pipelines.preview.run import Predicted, Preview

Row = dict[str, Any]


def rows_of(preview: Preview) -> list[Row]:
    """Every setting at every KL, in the order of the grid; equal rows of settings with the same optimum included.

    `overrides` are words for the command line; best-of-k has no KL coefficient among them.
    """
    return [row_of(preview, found, prediction) for found in preview.settings for prediction in found.predictions]


def row_of(preview: Preview, found: Predicted, prediction: Prediction) -> Row:
    """One row."""
    setting = found.setting
    return {
        "setting": found.index,
        "same_as": found.same_as,
        "is_own": setting.is_own,
        "method": prediction.method,
        "objective_kind": setting.config.objective.kind,
        "objective": setting.objective,
        "transform": setting.transform,
        **{f"reference.{name}": reference for name, reference in setting.references.items()},
        "target_kl": prediction.target_kl,
        "gamma": prediction.gamma,
        "k": prediction.k,
        "reliable": prediction.reliable,
        "problem": prediction.problem,
        "overrides": overrides_of(setting.config, preview.config, prediction.gamma),
        **finite(prediction.numbers),
    }


def finite(numbers: Mapping[str, float]) -> dict[str, float | None]:
    """NaN, such as a half-sample KL of fewer than 4 samples, is null."""
    return {name: value if math.isfinite(value) else None for name, value in numbers.items()}
