"""Where the trained reward models lie on the map, and what it says there, also of KLs that samples do not support.

The map's worlds are simpler: gold is normal, and a reward model is wrong in one way, by rare overrated answers where
raters overrate, else by normal errors. Its numbers are a second prediction, rougher than the tilt where that is
reliable.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from allgood.idealised.cells import BARS, TARGET_KLS, Cell, Errors
from allgood.idealised.objectives import CAPPED as MAP_CAPPED
from allgood.idealised.objectives import LOGIT as MAP_LOGIT
from allgood.idealised.objectives import LSC as MAP_LSC
from allgood.idealised.objectives import PAR as MAP_PAR
from allgood.idealised.objectives import RAW as MAP_RAW
from allgood.idealised.objectives import WEIGHTED as MAP_WEIGHTED
from allgood.idealised.objectives import Z_SCORE as MAP_Z_SCORE
from experiments.map.results import MEAN, cell_result
from experiments.open_world.design import CAPPED, LOGIT, LSC, PAR, RAW, TUNED, Z_SCORE
from pipelines.references.cached_samples import CachedSamples

Floats = NDArray[np.float64]
ON_THE_MAP: Mapping[str, str] = {
    LSC: MAP_LSC,
    RAW: MAP_RAW,
    TUNED: MAP_WEIGHTED,
    CAPPED: MAP_CAPPED,
    Z_SCORE: MAP_Z_SCORE,
    LOGIT: MAP_LOGIT,
    PAR: MAP_PAR,
}
LEAST_RATE, LEAST_SIZE = 0.002, 1.0
"""Of answers with a rare phrase, and of what reward models give them, in spreads: below, errors count as normal."""
LEAST_CORRELATION = 0.05  # of rewards with gold
_DIGITS = 3


def map_entry(
    cached: CachedSamples, rare: Mapping[str, torch.Tensor], bars: Mapping[str, float]
) -> dict[str, Any] | None:
    """The cell, the bar of the map nearest to the world's, and all-good rates by objective and KL.

    None for reward models that know next to nothing of gold: the map has no place for them.
    """
    cell = cell_of(cached, rare)
    if cell is None:
        return None
    quantile = float(np.mean([(cached.gold[name] < bar).double().mean() for name, bar in bars.items()]))
    bar = min(BARS, key=lambda one: abs(one - quantile))
    found = cell_result(cell)["objectives"]
    rates = {
        name: dict(zip(map(str, TARGET_KLS), found[theirs][MEAN]["all_good"][BARS.index(bar)], strict=True))
        for name, theirs in ON_THE_MAP.items()
    }
    return {"cell": asdict(cell), "bar": bar, "bar_quantile": round(quantile, _DIGITS), "all_good": rates}


def cell_of(cached: CachedSamples, rare: Mapping[str, torch.Tensor]) -> Cell | None:
    """The coordinates of reward models on samples of pi_0; `rare` is 1 where one has a rare phrase, per property."""
    names = list(cached.rewards)
    mean_correlation = float(np.mean([_correlation(cached.rewards[name], cached.gold[name]) for name in names]))
    if not mean_correlation > LEAST_CORRELATION:
        return None
    spreads = np.log(np.stack([torch.std(cached.rewards[name], dim=-1).numpy() for name in names]))
    by_property = spreads.mean(1)
    centred = spreads - by_property[:, None]
    by_prompt = centred.mean(0)
    freedom = (len(names) - 1) / len(names)
    first, second = names[0], names[-1]
    return Cell(
        properties=len(names),
        spread=_rounded(mean_correlation * math.exp(float(np.median(spreads)))),
        between_prompts=_rounded(float(by_prompt.std())),
        mixed=_rounded(float(np.sqrt(((centred - by_prompt) ** 2).mean() / freedom))),
        ratio=_rounded(math.exp(float(by_property.max() - by_property.min()))),
        correlation=_rounded(float(np.clip(_correlation(cached.gold[first], cached.gold[second]), -0.95, 0.95))),
        errors=_errors(cached, rare, mean_correlation),
    )


def _errors(cached: CachedSamples, rare: Mapping[str, torch.Tensor], correlation: float) -> Errors:
    rates = {name: float(has.mean()) for name, has in rare.items()}
    sizes = [_excess(cached, name, has) for name, has in rare.items() if rates[name] > LEAST_RATE]
    size, rate = float(np.mean(sizes)) if sizes else 0.0, float(np.mean(list(rates.values())))
    if size >= LEAST_SIZE:
        return Errors("overrated", size=_rounded(size), rate=_rounded(rate))
    return Errors("normal", size=_rounded(math.sqrt(max(1 / correlation**2 - 1, 0.0))))


def _excess(cached: CachedSamples, name: str, has: torch.Tensor) -> float:
    """Mean reward of samples with a rare phrase over what their gold explains, in the prompt's spreads of reward."""
    rewards, gold = (_standardised(grid[name]) for grid in (cached.rewards, cached.gold))
    without = ~has.bool()
    slope = float((rewards * gold)[without].sum() / (gold**2)[without].sum())
    left = rewards - slope * gold
    return float(left[has.bool()].mean() - left[without].mean()) / slope


def _correlation(first: torch.Tensor, second: torch.Tensor) -> float:
    """Mean over prompts of the correlation within the prompt: each counts alike, whatever its spread."""
    size = first.shape[1]
    return float((_standardised(first) * _standardised(second)).mean()) * size / (size - 1)


def _standardised(values: torch.Tensor) -> torch.Tensor:
    std, mean = torch.std_mean(values, dim=-1, keepdim=True)
    return (values - mean) / std


def _rounded(value: float) -> float:
    return round(value, _DIGITS)
