"""Heads that go with exported rewards, for prompts that the run never sampled; fitted again from its samples.

They are those of `allgood reference`: the same features, samples and seed. A property whose reference was not predicted
in the run gets one where it is asked for, if its reference is something that a Gaussian per prompt can stand for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow.parquet as pq
import torch

from allgood.reference_head import ReferenceHead, fit
from allgood.scorers.prompt_features import load_features
from pipelines.cast.request import scorer_spec
from pipelines.config.properties import (
    MeanReference,
    MedianReference,
    ModelProperty,
    PredictedReference,
    QuantileReference,
    Reference,
)
from pipelines.config.run import RunConfig
from pipelines.data import Prompt
from pipelines.output.progress import say
from pipelines.references.build import wanted_references
from pipelines.references.predicted import complete_draws, held_out_coverage
from pipelines.references.table import SAMPLES, ReferenceTable
from pipelines.run.start_policy import absolute_source


@dataclass(frozen=True)
class Wanted:
    """The quantile that a property's predictor shall predict, and the encoder that it stands on, if it names one."""

    quantile: float
    encoder: str | None


@dataclass(frozen=True)
class Fitted:
    """A head, and how its quantiles held on prompts that were kept out."""

    head: ReferenceHead
    coverage: dict[str, Any]


def wanted_predictor(config: RunConfig, name: str, *, for_all: bool) -> Wanted | None:
    """The predictor that the run has for a property, or with `for_all` the one that it could have; None without."""
    setting = config.properties[name]
    quantile = _quantile(setting.reference)
    if quantile is None:
        return None
    heads = [reference for reference in wanted_references(config, name) if reference.needs == "head"]
    if heads:
        (encoder,) = heads[0].encoders
        return Wanted(quantile, encoder)
    return Wanted(quantile, None) if for_all and isinstance(setting, ModelProperty) else None


def fit_predictor(
    config: RunConfig, name: str, wanted: Wanted, table: ReferenceTable, prompts: Sequence[Prompt]
) -> Fitted:
    """Fit the head on the alignment prompts of which every sample was scored.

    Raises:
        DataError: There are too few of them.
    """
    samples = pq.read_table(table.folder / SAMPLES, columns=["prompt_id", f"reward.{name}"]).to_pylist()
    positions, draws = complete_draws(name, prompts, samples)
    encoder = None if wanted.encoder is None else absolute_source(wanted.encoder)
    say(f"features of {len(positions)} prompts for the predictor of {name}")
    features_of = load_features(scorer_spec(config, name), encoder)
    features = torch.from_numpy(features_of([prompts[position].text for position in positions]))
    coverage = held_out_coverage(features, draws, seed=config.seed)
    return Fitted(fit(features, draws, seed=config.seed), coverage)


def _quantile(reference: Reference) -> float | None:
    """Which quantile of pi_0's rewards a reference is; None where it is something else."""
    match reference:
        case QuantileReference() | PredictedReference():
            return reference.quantile
        case MeanReference() | MedianReference():
            return 0.5  # of a Gaussian
        case _:
            return None
