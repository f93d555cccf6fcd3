"""What is measured on the cached samples, once for all settings: one value per sample, and who beats whom.

Names say who judges: `gold.*` where gold exists, `evaluator.*` where held-out preference models scored the samples,
`reward.*` for the training reward models, which are never called judges: they say how far the optimum pleases them.
`p_good.*` is P(good) by the run file's own transforms and references, the same yardstick for every setting.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from allgood.errors import DataError, ReferenceTableError
from allgood.opponents import NUM_FOLDS, both_win_shares, win_shares
from allgood.shortcuts import SHORTCUTS
from allgood.views import PropertyView
from pipelines.config.properties import ModelProperty, Property
from pipelines.references.cached_samples import CachedSamples

FEW_FOLDS = 4  # for best-of-k, whose weights depend on the fold


@dataclass(frozen=True)
class Measures:
    """`values` [prompts, samples, names]; `wins` [prompts, samples, comparisons, folds] with many folds, and few."""

    names: tuple[str, ...]
    values: Tensor
    comparisons: tuple[str, ...]
    wins: Tensor
    few_wins: Tensor

    @property
    def num_prompts(self) -> int:
        """Prompts without a failed score."""
        return self.values.shape[0]


def without_failures(cached: CachedSamples) -> CachedSamples:
    """The prompts that a tilt can use: it needs every sample of a prompt.

    Raises:
        DataError: No prompt is left.
    """
    kept = torch.ones(len(cached.prompt_ids), dtype=torch.bool)
    for grids in (cached.rewards, cached.evaluators, cached.gold):
        for grid in grids.values():
            kept &= torch.isfinite(grid).all(-1)
    if not kept.any():
        raise DataError(
            f"every prompt of the {cached.split} split has a sample that could not be scored, so nothing can be "
            "predicted; look for NaN in the rewards of samples.parquet"
        )
    return cached.on(kept)


def measures_of(
    cached: CachedSamples,
    own: Mapping[str, PropertyView],
    bars: Mapping[str, float],
    properties: Mapping[str, Property],
) -> Measures:
    """Everything that predictions average. `own` are what the run file's own `properties` make of the rewards.

    Raises:
        ReferenceTableError: There are bars for a gold that the cached samples do not have.
    """
    missing = [name for name in bars if name not in cached.gold]
    if missing:
        raise ReferenceTableError(
            f"the cached samples have no gold of {missing[0]!r}, which the run file gives a bar: made before it, so "
            "run `allgood reference` again"
        )
    values = {f"p_good.{name}": torch.from_numpy(part.p_good) for name, part in own.items()}
    values |= {f"good.{name}": (cached.gold[name] >= bar).double() for name, bar in bars.items()}
    if bars:
        values["both_good_rate"] = cached.all_good(bars)
        values |= {f"gold.{name}": grid for name, grid in cached.gold.items()}
    values |= _shortcuts(cached)
    scores = {f"gold_win_rate.{name}": grid for name, grid in cached.gold.items()}
    scores |= {f"evaluator_win_rate.{name}": grid for name, grid in cached.evaluators.items()}
    scores |= {f"reward_win_rate.{name}": grid for name, grid in cached.rewards.items()}
    evaluators = cached.evaluators if evaluators_suffice(cached.evaluators, properties) else {}
    both = cached.gold or evaluators or cached.rewards
    return Measures(
        names=tuple(values),
        values=torch.stack([grid.double() for grid in values.values()], dim=-1),
        comparisons=(*scores, "both_win_rate"),
        wins=_wins(scores, both, NUM_FOLDS),
        few_wins=_wins(scores, both, FEW_FOLDS),
    )


def evaluators_suffice(evaluated: Collection[str], properties: Mapping[str, Property]) -> bool:
    """Whether every property that can have a held-out evaluator, a trained reward model, has one."""
    trained = {name for name, setting in properties.items() if isinstance(setting, ModelProperty)}
    return bool(evaluated) and trained <= set(evaluated)


def judged_by(kind: str, comparisons: Sequence[str]) -> set[str]:
    """The properties that a kind of judge (gold, evaluator, reward) has win rates for."""
    prefix = f"{kind}_win_rate."
    return {name.removeprefix(prefix) for name in comparisons if name.startswith(prefix)}


def _wins(scores: Mapping[str, Tensor], both: Mapping[str, Tensor], num_folds: int) -> Tensor:
    single = [win_shares(grid, num_folds=num_folds) for grid in scores.values()]
    return torch.stack([*single, both_win_shares(both, num_folds=num_folds)], dim=2)


def _shortcuts(cached: CachedSamples) -> dict[str, Tensor]:
    """Per sample; equal texts are read once."""
    texts = [text for row in cached.responses for text in row]
    distinct = {text: index for index, text in enumerate(dict.fromkeys(texts))}
    index = np.array([distinct[text] for text in texts]).reshape(len(cached.responses), -1)
    return {
        f"shortcut.{name}": torch.from_numpy(np.array([float(measure(text)) for text in distinct])[index])
        for name, measure in SHORTCUTS.items()
    } | {"share_cut": cached.was_cut.double()}
