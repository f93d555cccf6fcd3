"""`allgood preview`: predict every setting of a grid from the cached samples of the start policy, without training."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from allgood.all_good import AllGood
from allgood.errors import ConfigError
from allgood.treatment import Treatment, treat
from allgood.views import PropertyView
from pipelines.config.objective_values import objective_of
from pipelines.config.preview import PreviewConfig
from pipelines.config.run import RunConfig
from pipelines.objective.gold import gold_of
from pipelines.output.progress import track
from pipelines.preview.diagnosis import Diagnosable, diagnosable
from pipelines.preview.frontier import headline_of
from pipelines.preview.grid import Grid, Setting, grid_of
from pipelines.preview.measures import Measures, measures_of, without_failures
from pipelines.preview.predict import Levels, Prediction, SameUtilities, predict
from pipelines.references.cached_samples import CachedSamples, load_cached_samples, refuse_without_utility
from pipelines.references.table import ReferenceTable
from pipelines.references.treatments import treatment_of
from pipelines.run.folder import RunFolder


@dataclass(frozen=True)
class Predicted:
    """A setting with its predictions. `same_as` is the index of the setting whose optimum it shares, if any."""

    index: int
    setting: Setting
    predictions: tuple[Prediction, ...]
    same_as: int | None = None


@dataclass(frozen=True)
class Preview:
    """All that a preview found; the settings stand in the order of the grid, the run file's own first."""

    config: RunConfig
    grid: Grid
    measures: Measures
    settings: tuple[Predicted, ...]
    headline: str
    num_samples: int
    num_dropped_prompts: int
    seconds: float
    diagnosable: Diagnosable

    @property
    def distinct(self) -> Iterator[tuple[Predicted, Prediction]]:
        """Every prediction once, without the settings that share another's optimum."""
        for found in self.settings:
            if found.same_as is None:
                for prediction in found.predictions:
                    yield found, prediction


def predict_grid(config: RunConfig) -> Preview:
    """Predict the grid of `config.preview`; writes nothing.

    Raises:
        ConfigError: The grid names what does not exist or does not fit, or no KL of it is within the samples' reach.
        ReferenceTableError: There are no samples, or they belong to another policy, model or setting, or there is one
            sample per prompt, or no reference of a kind that the grid asks for.
        DataError: Every prompt has a failed score.
    """
    grid = grid_of(config)  # before anything is read: a mistake in the grid is reported at once
    cached = load_cached_samples(config, config.preview.split)
    return predict_cached(config, grid, cached, ReferenceTable.load(RunFolder(config.base_folder).references))


def predict_cached(config: RunConfig, grid: Grid, cached: CachedSamples, table: ReferenceTable) -> Preview:
    """Predict `grid` from samples that are in memory.

    Raises:
        ConfigError: No KL of the grid is within the samples' reach.
        ReferenceTableError: There is no reference of a kind that the grid asks for.
        DataError: Every prompt has a failed score.
    """
    started = time.monotonic()
    _refuse_out_of_reach(config.preview, cached.num_samples)
    judged = without_failures(cached)
    utilities = _Utilities(judged, table)
    gold = gold_of(config)
    bars = gold.bars if gold else {}
    views = utilities.views(config)
    measures = measures_of(judged, views, bars, config.properties)
    headline = headline_of(measures.comparisons, measures.names, config.properties)
    levels = Levels(config.preview.target_kls, config.preview.coefficients, config.preview.best_of_k)
    found: list[Predicted] = []
    same = SameUtilities()
    with track(
        f"predicting {len(grid.settings)} settings on {measures.num_prompts} prompts", len(grid.settings)
    ) as bar:
        for index, setting in enumerate(grid.settings):
            combined = utilities.combined(setting.config)
            first = same.first_like(index, combined)
            if first == index:
                predictions = tuple(predict(combined, levels, measures, headline=headline))
                found.append(Predicted(index, setting, predictions))
            else:
                found.append(Predicted(index, setting, found[first].predictions, same_as=first))
            bar.advance()
    return Preview(
        config=config,
        grid=grid,
        measures=measures,
        settings=tuple(found),
        headline=headline,
        num_samples=cached.num_samples,
        num_dropped_prompts=len(cached.prompt_ids) - len(judged.prompt_ids),
        seconds=time.monotonic() - started,
        diagnosable=diagnosable(config, judged, views, bars),
    )


def _refuse_out_of_reach(chosen: PreviewConfig, num_samples: int) -> None:
    """Some KL must be one that the samples can show, whatever their utilities: else no setting would have a tilt."""
    reach = math.log(num_samples)
    if not chosen.coefficients and min(chosen.target_kls) >= reach:
        raise ConfigError(
            f"preview.target_kls starts at {min(chosen.target_kls):g}, but {num_samples} samples per prompt cannot "
            f"show more than {reach:.2f} nats; lower it, or raise references.num_samples and run `allgood reference` "
            "again"
        )


@dataclass(frozen=True)
class _Treated:
    """What one property's treatment makes of the cached samples."""

    treatment: Treatment
    view: PropertyView


@dataclass(frozen=True)
class _Utilities:
    """Utilities of settings. Of thousands, few differ in a property's transform and reference: each view is kept."""

    cached: CachedSamples
    table: ReferenceTable
    _kept: dict[str, _Treated] = field(default_factory=dict)

    def combined(self, config: RunConfig) -> Tensor:
        """The utility of `config.objective`, float64 [prompts, samples]."""
        refuse_without_utility(config.objective)
        treated = {name: self._treated(config, name) for name in config.properties}
        all_good = AllGood(
            {name: part.treatment for name, part in treated.items()},
            objective_of(config.objective, config.properties),
            config.missing_eos_penalty,
        )
        views = {name: part.view for name, part in treated.items()}
        return torch.from_numpy(all_good.of_views(views, was_cut=self.cached.was_cut.numpy()).utilities).double()

    def views(self, config: RunConfig) -> Mapping[str, PropertyView]:
        return {name: self._treated(config, name).view for name in config.properties}

    def _treated(self, config: RunConfig, name: str) -> _Treated:
        setting: Any = config.properties[name]
        key = f"{name} {setting.transform.model_dump_json()} {setting.reference.model_dump_json()}"
        if key not in self._kept:
            treatment = treatment_of(config, name, self.table, self.cached.prompt_ids, key="cached")
            rewards = self.cached.actor_rewards(name)
            view = treat(treatment, rewards, self.cached.prompt_ids, property_name=name)
            self._kept[key] = _Treated(treatment, view)
        return self._kept[key]
