"""The grid: every (transform, references, objective) of the `preview` section that is possible, as run configurations.

A setting is a run configuration with other transforms, references and objective, so that a prediction is made by what a
run would do and can be given back as overrides. What the configuration itself refuses (a formula of raw rewards) is
left out and counted; an option that fits nowhere at all is the user's mistake.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from allgood.errors import ConfigError
from pipelines.config.base import in_words
from pipelines.config.objective_values import objective_of
from pipelines.config.objectives import (
    FormulaObjective,
    LogitOfProductObjective,
    MinimumObjective,
    NormaliseThenSumObjective,
    Objective,
    WeightedSumObjective,
)
from pipelines.config.properties import (
    ClassifierProperty,
    MeanReference,
    Property,
    QuantileReference,
    Reference,
    Transform,
)
from pipelines.config.run import RunConfig
from pipelines.preview import names

RATIOS = (0.25, 0.5, 1.0, 2.0, 4.0)
QUANTILES = (0.5, 0.75, 0.85, 0.95)
Option = TypeVar("Option", bound=BaseModel)
_PROPERTY: TypeAdapter[Property] = TypeAdapter(Property)


@dataclass(frozen=True)
class Setting:
    """One point of the grid without its KL. `is_own` marks what the run file itself says."""

    config: RunConfig
    is_own: bool = False

    @property
    def objective(self) -> str:
        """The objective in words, such as "helpful & harmless"."""
        return names.objective_name(self.config.objective, list(self.config.properties))

    @property
    def transform(self) -> str:
        """The transforms in words; one word where all properties have the same."""
        each = {name: in_words(setting.transform) for name, setting in self.config.properties.items()}
        if len(set(each.values())) == 1:
            return next(iter(each.values()))
        return ", ".join(f"{name} {transform}" for name, transform in each.items())

    @property
    def references(self) -> dict[str, str]:
        """The reference of each property in words."""
        return {name: setting.reference.in_words for name, setting in self.config.properties.items()}


@dataclass(frozen=True)
class Grid:
    """All settings, the run file's own first where it can be predicted. `left_out` counts combinations by reason."""

    settings: tuple[Setting, ...]
    left_out: Mapping[str, int]


def grid_of(config: RunConfig) -> Grid:
    """The grid of `config.preview`.

    Raises:
        ConfigError: `preview` names an unknown property, or an objective or transform that fits no combination.
    """
    unknown = [name for name in config.preview.references if name not in config.properties]
    if unknown:
        raise ConfigError(
            f"preview.references names {unknown[0]!r}, which is not a property; properties are: "
            f"{', '.join(config.properties)}"
        )
    treated, left_out = _treated(config)
    refused = Counter[str]()
    settings = [Setting(own, is_own=True) for own in _with_objective([config], config.objective)[0]]
    for objective in _objectives(config):
        fitting, reasons = _with_objective(treated, objective)
        if not fitting:
            raise ConfigError(
                f"preview.objectives: no combination fits {objective.model_dump()}: {next(iter(reasons))}"
            )
        settings += [Setting(found) for found in fitting]
        refused += reasons
    return Grid(tuple(settings), left_out + refused)


def _treated(config: RunConfig) -> tuple[list[RunConfig], Counter[str]]:
    """`config` under every combination of transform and references that its properties accept."""
    found: dict[str, RunConfig] = {}
    left_out = Counter[str]()
    for transform in config.preview.transforms:
        options = [_options(config, name, transform, left_out) for name in config.properties]
        for chosen in product(*options):
            changed = dict(zip(config.properties, chosen, strict=True))
            key = str([setting.model_dump() for setting in chosen])
            found.setdefault(key, config.model_copy(update={"properties": changed}))
    return list(found.values()), left_out


def _options(config: RunConfig, name: str, transform: Transform, left_out: Counter[str]) -> list[Property]:
    """A property under `transform` with each of its references; a classifier, which has no choice, as it is."""
    own = config.properties[name]
    if isinstance(own, ClassifierProperty):
        return [own]
    options: list[Property] = []
    reasons = Counter[str]()
    for reference in _references(config, name):
        raw = own.model_dump() | {"transform": transform.model_dump(), "reference": reference.model_dump()}
        try:
            options.append(_PROPERTY.validate_python(raw))
        except ValidationError as error:
            reasons[f"{name}: {_first_reason(error)}"] += 1
    if not options:
        raise ConfigError(f"preview.transforms: {transform.kind} fits no reference of {next(iter(reasons))}")
    left_out.update(reasons)
    return options


def _references(config: RunConfig, name: str) -> list[Reference]:
    """Own reference first, then those of the grid, each once."""
    own = config.properties[name].reference
    default: list[Reference] = [MeanReference(), *(QuantileReference(quantile=quantile) for quantile in QUANTILES)]
    return _distinct([own, *config.preview.references.get(name, default)])


def _objectives(config: RunConfig) -> list[Objective]:
    if config.preview.objectives is not None:
        return _distinct(config.preview.objectives)
    properties = list(config.properties)
    single: list[Objective] = [FormulaObjective(expression=name) for name in properties if len(properties) > 1]
    alone = [WeightedSumObjective(weights=_only(name, properties)) for name in properties if len(properties) > 1]
    mixed = [WeightedSumObjective(weights=weights) for weights in _weights(properties)]
    others: list[Objective] = [MinimumObjective(), LogitOfProductObjective()] if len(properties) > 1 else []
    own = [] if isinstance(config.objective, NormaliseThenSumObjective) else [config.objective]
    return _distinct([*own, FormulaObjective(), *single, *mixed, *alone, *others])


def _weights(properties: Sequence[str]) -> Iterator[dict[str, float]]:
    """Equal weights, and for each property against the others the ratios of the grid."""
    yield dict.fromkeys(properties, 1.0)
    chosen = properties[:1] if len(properties) == 2 else properties  # of two, one ratio tells both
    for name in chosen if len(properties) > 1 else ():
        for ratio in RATIOS:
            if ratio != 1.0:
                yield {other: ratio if other == name else 1.0 for other in properties}


def _only(name: str, properties: Sequence[str]) -> dict[str, float]:
    return {other: float(other == name) for other in properties}


def _with_objective(treated: Sequence[RunConfig], objective: Objective) -> tuple[list[RunConfig], Counter[str]]:
    fitting: list[RunConfig] = []
    reasons = Counter[str]()
    if isinstance(objective, NormaliseThenSumObjective):
        reasons["normalise_then_sum is a rule for advantages and has no utility to tilt by"] += len(treated)
        return fitting, reasons
    for config in treated:
        try:
            objective_of(objective, config.properties)
        except ConfigError as error:
            reasons[str(error)] += 1
        else:
            fitting.append(config.model_copy(update={"objective": objective}))
    return fitting, reasons


def _distinct(options: Sequence[Option]) -> list[Option]:
    found: list[Option] = []
    for option in options:
        if option not in found:
            found.append(option)
    return found


def _first_reason(error: ValidationError) -> str:
    return str(error.errors(include_url=False)[0]["msg"]).removeprefix("Value error, ")
