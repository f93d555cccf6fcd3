"""Settings in words, for tables and plots, and as overrides, for the command line."""

from __future__ import annotations

import json
from collections.abc import Sequence

from pydantic import BaseModel

from pipelines.config.base import in_words
from pipelines.config.rl import FixedController, FormulaObjective, WeightedSumObjective
from pipelines.config.run import RunConfig


def objective_name(objective: BaseModel, properties: Sequence[str]) -> str:
    """An objective: the formula, the sum with its weights, or the kind with its values."""
    if isinstance(objective, FormulaObjective):
        return objective.expression or " & ".join(properties)
    if isinstance(objective, WeightedSumObjective):
        weights = {name: objective.weights.get(name, 1.0) for name in properties}
        return " + ".join(f"{'' if w == 1 else f'{w:g} '}{name}" for name, w in weights.items() if w)
    return in_words(objective)


def overrides_of(setting: RunConfig, base: RunConfig, coefficient: float | None) -> list[str]:
    """What to add to `allgood align CONFIG` to run a setting; only what differs from the run file `base`.

    A coefficient is held: a controller of the run file would move it away from the tilt that was predicted.
    """
    found = []
    for name, chosen in setting.properties.items():
        own = base.properties[name]
        if chosen.transform != own.transform:
            found.append(f"properties.{name}.transform={_inline(chosen.transform)}")
        if chosen.reference != own.reference:
            found.append(f"properties.{name}.reference={_inline(chosen.reference)}")
    if setting.objective != base.objective:
        found.append(f"objective={_inline(setting.objective)}")
    if coefficient is not None:
        found.append(f"kl.coefficient={coefficient:.6g}")
        if not isinstance(base.kl.controller, FixedController):
            found.append("kl.controller.kind=fixed")
    return found


def _inline(option: BaseModel) -> str:
    """One line of JSON, which is YAML too."""
    return json.dumps(option.model_dump(mode="json", exclude_none=True), ensure_ascii=False)
