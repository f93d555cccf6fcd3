"""The same optima on plain samples of pi_0: what quadrature is checked against, and where it has no answer.

Errors without exponential moments, such as Student's t with 3 degrees of freedom, have no optimum under a raw sum: what
samples show then depends on their number. Samples also show less than the truth at high KL: `Tilt.reliable` says when.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtri

from allgood import aggregation, transforms
from allgood.idealised.cells import MAIN_BAR, Cell, Errors
from allgood.idealised.objectives import LSC, RAW
from allgood.idealised.prompts import prompts_of
from allgood.tilting import solve_gamma, tilt

Floats = NDArray[np.float64]

NUM_PROMPTS = 40


@dataclass(frozen=True)
class Sampled:
    """An optimum on samples.

    Attributes:
        objective: Raw or LSC sum.
        kl: Target, in nats.
        num_samples: Per prompt.
        all_good: Rate over the main bar.
        error: Its standard error over prompts.
        effective: Effective sample size of the prompt where it is lowest.
        reliable: False when half of the samples show a KL that is more than 5 % lower.
    """

    objective: str
    kl: float
    num_samples: int
    all_good: float
    error: float
    effective: float
    reliable: bool


def sampled(cell: Cell, kls: Iterable[float], sizes: Iterable[int], *, seed: int = 0) -> Iterable[Sampled]:
    """Raw and LSC sum of a cell on samples of pi_0, for every KL and number of samples per prompt."""
    for num_samples in sizes:
        gold, rewards = _draws(cell, num_samples, np.random.default_rng(seed))
        good = torch.from_numpy((gold > ndtri(MAIN_BAR)).all(1))  # [prompts, samples]
        for kl, (objective, utilities) in product(kls, _utilities(rewards, cell.reference).items()):
            optimum = tilt(utilities, solve_gamma(utilities, kl))
            rates = optimum.expect(good.double())
            error = float(rates.std() / len(rates) ** 0.5)
            effective = float(optimum.effective_sample_size.min())
            yield Sampled(objective, kl, num_samples, float(rates.mean()), error, effective, optimum.reliable)


def _draws(cell: Cell, num_samples: int, generator: np.random.Generator) -> tuple[Floats, Floats]:
    """Gold and rewards, [prompts, properties, samples]."""
    spreads = np.resize(prompts_of(cell).spreads, (NUM_PROMPTS, cell.properties))
    shape = (*spreads.shape, num_samples)
    shared = generator.standard_normal((NUM_PROMPTS, 1, num_samples))
    own = generator.standard_normal(shape)
    gold = np.sqrt(cell.correlation) * shared + np.sqrt(1 - cell.correlation) * own
    if cell.ceiling is not None:
        gold = np.minimum(gold, ndtri(MAIN_BAR) + cell.ceiling)
    errors = _errors(cell.errors, shape, generator)
    if cell.errors.shared:
        errors = np.broadcast_to(errors[:, :1], shape)
    return gold, spreads[..., None] * (gold + errors)


def _errors(errors: Errors, shape: tuple[int, ...], generator: np.random.Generator) -> Floats:
    if errors.kind == "normal":
        return errors.size * generator.standard_normal(shape)
    if errors.kind == "laplace":
        return generator.laplace(scale=errors.size / 2**0.5, size=shape)
    if errors.kind == "student":  # with 3 degrees of freedom, whose variance is 3
        return errors.size / 3**0.5 * generator.standard_t(3, size=shape)
    sign = {"none": 0, "overrated": 1, "underrated": -1}[errors.kind]
    has_error = generator.random(shape) < errors.rate
    added: Floats = sign * has_error * errors.size * generator.uniform(0.5, 1.5, shape)
    return added


def _utilities(rewards: Floats, reference: float) -> dict[str, torch.Tensor]:
    """Per objective [prompts, samples]."""
    values = {str(index): torch.from_numpy(rewards[:, index]) for index in range(rewards.shape[1])}
    centred = {
        name: transforms.log_sigmoid(value, torch.from_numpy(np.quantile(value.numpy(), reference, axis=1)))
        for name, value in values.items()
    }
    return {RAW: aggregation.raw_sum(values), LSC: aggregation.raw_sum(centred)}
