"""What the map says of reward models with given coordinates: all-good rates of four sums at matched mean KL."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from allgood import transforms
from allgood.idealised.cells import BARS, MAIN_BAR, Cell
from allgood.idealised.matching import at_mean_kl
from allgood.idealised.objectives import CAPPED, CAPS, LSC, NO_CAP, RAW, Z_SCORE
from allgood.idealised.prompts import VALIDATION_SEED, Prompts, prompts_of
from experiments.real_data.normal_world import POINTS, NormalWorld, Sums

Floats = NDArray[np.float64]

KLS = (1.0, 2.0, 4.0)  # nats
OBJECTIVES = (RAW, LSC, CAPPED, Z_SCORE)
REFERENCE = 0.85
LEAVES_GRID = 1e-3  # mass near the upper end of the grid from which on a number is not given, as on the map


@dataclass(frozen=True)
class Coordinates:
    """Reward models of two properties, and the prompts that they are used on.

    Attributes:
        spread: Of rewards within a typical prompt, in nats, errors included; geometric mean of the two properties.
        accuracy: Correlation of a reward with its gold within prompts, the same for both.
        correlation: Of the two rewards within prompts, and of gold, and of errors.
        ratio: Typical spread of the second property over that of the first.
        between_prompts: Standard deviation of the log of a factor of the spread per prompt.
        mixed: The same per prompt and property.
        error_correlation: Of errors between properties, if it is another.
        overrated: Share of the answers that a reward model rates 2 to 6 spreads of gold too high.
    """

    spread: float
    accuracy: float
    correlation: float
    ratio: float = 1.0
    between_prompts: float = 0.0
    mixed: float = 0.0
    error_correlation: float | None = None
    overrated: float = 0.0

    @property
    def world(self) -> NormalWorld:
        """What rewards tell of gold."""
        of_errors = self.correlation if self.error_correlation is None else self.error_correlation
        return NormalWorld(self.accuracy, self.correlation, of_errors, self.overrated)

    def prompts(self, *, seed: int) -> Prompts:
        """Spreads of rewards in nats, as the map draws them."""
        cell = Cell(spread=self.spread, ratio=self.ratio, between_prompts=self.between_prompts, mixed=self.mixed)
        return prompts_of(cell, seed=seed)


def all_good_rates(
    coordinates: Coordinates, objectives: Sequence[str] = OBJECTIVES, *, bar: float = MAIN_BAR
) -> dict[str, Floats]:
    """Per objective [KLs]; the cap is the one with the best rate on validation prompts, at each KL."""
    world = coordinates.world
    prompts, validation = coordinates.prompts(seed=0), coordinates.prompts(seed=VALIDATION_SEED)
    found = {}
    for objective in objectives:
        if objective != CAPPED:
            found[objective] = _rates(world, _utilities(world, prompts, objective, NO_CAP), bar)
            continue
        tuned = np.stack([_rates(world, _utilities(world, validation, CAPPED, cap), bar) for cap in CAPS])
        caps = [CAPS[index] for index in np.argmax(tuned.round(6), axis=0)]
        rates = {cap: _rates(world, _utilities(world, prompts, CAPPED, cap), bar) for cap in set(caps)}
        found[CAPPED] = np.array([rates[cap][index] for index, cap in enumerate(caps)])
    return found


def rate_before(coordinates: Coordinates, *, bar: float = MAIN_BAR) -> float:
    """P(all good) under pi_0."""
    return float(coordinates.world.good[BARS.index(bar)].sum())


def _utilities(world: NormalWorld, prompts: Prompts, objective: str, cap: float) -> Floats:
    """[prompts, properties, points]."""
    spreads = prompts.spreads[..., None]
    if objective == Z_SCORE:
        return np.broadcast_to(POINTS / world.standard_deviation, (1, prompts.spreads.shape[1], len(POINTS)))
    if objective == LSC:
        margins = torch.from_numpy(spreads * (POINTS - world.quantile(REFERENCE)))
        utilities: Floats = transforms.log_sigmoid(margins, 0.0).numpy()
        return utilities
    rewards: Floats = spreads * (POINTS if cap == NO_CAP else np.minimum(POINTS, world.quantile(cap)))
    return rewards


def _rates(world: NormalWorld, utilities: Floats, bar: float) -> Floats:
    """Mean all-good rates over prompts, [KLs]; NaN where the optimum leaves the grid."""
    family = Sums(world, utilities)
    optima = [family.at(inverse_gamma) for inverse_gamma in at_mean_kl(family, KLS)]
    rates = np.array([optimum.all_good[:, BARS.index(bar)].mean() for optimum in optima])
    left = np.array([optimum.edge.max() for optimum in optima]) > LEAVES_GRID
    return np.where(left, np.nan, rates)
