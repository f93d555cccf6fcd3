"""Coordinates of reward models whose world is known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from experiments.open_world.on_the_map import cell_of
from pipelines.references.cached_samples import CachedSamples

PROMPTS, SAMPLES = 300, 400
NAMES = ("helpful", "harmless")


def draws(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def scores(*, seed: int) -> Tensor:
    """Quantiles of the normal law in random order, [prompts, 1], so that spreads are exactly as they should be."""
    order = torch.randperm(PROMPTS, generator=torch.Generator().manual_seed(seed))
    quantiles = (torch.arange(PROMPTS, dtype=torch.float64) + 0.5) / PROMPTS
    return torch.special.ndtri(quantiles)[order][:, None]


def samples_of(gold: dict[str, Tensor], rewards: dict[str, Tensor]) -> CachedSamples:
    """Only gold and rewards matter here."""
    shape = (PROMPTS, SAMPLES)
    texts = tuple(("",) * SAMPLES for _ in range(PROMPTS))
    ids = tuple(str(index) for index in range(PROMPTS))
    zeros = torch.zeros(shape)
    return CachedSamples("test", ids, ids, texts, texts, zeros.long(), zeros.bool(), rewards, gold, {})


def world(*, noise: float, overrated: float) -> tuple[CachedSamples, dict[str, Tensor]]:
    """Spread 2 nats, log-normal 0.5 between prompts and 0.3 per property, correlation -0.34, 1 % overrated."""
    one, other = (draws(PROMPTS, SAMPLES, seed=seed) for seed in (0, 1))
    gold = {"helpful": one, "harmless": -0.34 * one + (1 - 0.34**2) ** 0.5 * other}
    rewards, rare = {}, {}
    for index, name in enumerate(NAMES):
        spread = 2 * torch.exp(0.5 * scores(seed=2) + 0.3 * scores(seed=3 + index))
        rare[name] = (draws(PROMPTS, SAMPLES, seed=5 + index) > 2.326).double()  # the 99 % quantile
        error = noise * draws(PROMPTS, SAMPLES, seed=7 + index) + overrated * rare[name]
        rewards[name] = spread * (gold[name] + error)
    return samples_of(gold, rewards), rare


def test_noisy_reward_models_are_found_with_their_spreads() -> None:
    cell = cell_of(*world(noise=0.75, overrated=0.0))
    assert cell is not None
    assert cell.errors.kind == "normal"
    assert cell.errors.size == pytest.approx(0.75, rel=0.05)
    assert cell.spread == pytest.approx(2.0, rel=0.1)
    # sqrt(0.5^2 + 0.3^2 / 2): the mean of two properties varies with both
    assert cell.between_prompts == pytest.approx((0.25 + 0.045) ** 0.5, rel=0.15)
    assert cell.mixed == pytest.approx(0.3, rel=0.15)
    assert cell.correlation == pytest.approx(-0.34, abs=0.02)
    assert cell.ratio == pytest.approx(1.0, abs=0.1)


def test_overrated_answers_are_found_with_their_rate_and_size() -> None:
    cell = cell_of(*world(noise=0.2, overrated=4.0))
    assert cell is not None
    assert cell.errors.kind == "overrated"
    assert cell.errors.rate == pytest.approx(0.01, rel=0.05)
    assert cell.errors.size == pytest.approx(4.0, rel=0.05)


def test_reward_models_that_know_nothing_of_gold_have_no_place() -> None:
    gold = {name: draws(PROMPTS, SAMPLES, seed=index) for index, name in enumerate(NAMES)}
    rewards = {name: draws(PROMPTS, SAMPLES, seed=10 + index) for index, name in enumerate(NAMES)}
    assert cell_of(samples_of(gold, rewards), {name: torch.zeros(PROMPTS, SAMPLES) for name in NAMES}) is None
