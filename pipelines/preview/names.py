"""Settings in words, for tables and plots, and as overrides, for the command line."""

from __future__ import annotations

import json
from collections.abc import Sequence

from pydantic import BaseModel

from pipelines.config.properties import CannedReference, QuantileReference
from pipelines.config.rl import FixedController, FormulaObjective, WeightedSumObjective
from pipelines.config.run import RunConfig


def option_name(option: BaseModel) -> str:
    """A transform or reference: its kind, and what distinguishes it from others of its kind."""
    if isinstance(option, QuantileReference):
        return f"q{100 * option.quantile:g}" + ("" if option.method == "gaussian" else " empirical")
    if isinstance(option, CannedReference):
        return f"canned ({len(option.replies)} replies)" if len(option.replies) > 1 else "canned"
    return _kind_and_values(option)


def objective_name(objective: BaseModel, properties: Sequence[str]) -> str:
    """An objective: the formula, the sum with its weights, or the kind with its values."""
    if isinstance(objective, FormulaObjective):
        return objective.expression or " & ".join(properties)
    if isinstance(objective, WeightedSumObjective):
        weights = {name: objective.weights.get(name, 1.0) for name in properties}
        return " + ".join(f"{'' if w == 1 else f'{w:g} '}{name}" for name, w in weights.items() if w)
    return _kind_and_values(objective)


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


def _kind_and_values(option: BaseModel) -> str:
    values = option.model_dump(mode="json", exclude={"kind"}, exclude_defaults=True)
    kind = str(option.model_dump()["kind"])
    if not values:
        return kind
    return f"{kind} ({', '.join(f'{key} {value}' for key, value in values.items())})"


def _inline(option: BaseModel) -> str:
    """One line of JSON, which is YAML too."""
    return json.dumps(option.model_dump(mode="json", exclude_none=True), ensure_ascii=False)
