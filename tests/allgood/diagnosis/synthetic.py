"""Samples of idealised worlds whose coordinates are known."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from allgood.diagnosis.samples import DiagnosedSamples

Floats = NDArray[np.float64]
SPREAD, Q85 = 1.5, float(ndtri(0.85))


def samples_of(
    num_prompts: int,
    num_samples: int,
    *,
    num_properties: int = 2,
    between: float = 0.0,
    mixed: float = 0.0,
    correlation: float = 0.0,
    noise: float = 0.0,
    heavy: bool = False,
    rate: float = 0.0,
    bar_variation: float = 0.0,
    ceiling: float = np.inf,
    seed: int = 0,
) -> DiagnosedSamples:
    """Gold is standard normal and ends `ceiling` over its bars; a reward is a spread times gold plus an error."""
    generator = np.random.default_rng(seed)
    shape = (num_properties, num_prompts, num_samples)
    logs = between * generator.standard_normal((1, num_prompts)) + mixed * generator.standard_normal(shape[:2])
    gold = np.sqrt(correlation) * generator.standard_normal((1, *shape[1:]))
    gold = gold + np.sqrt(1 - correlation) * generator.standard_normal(shape)
    bars = Q85 + bar_variation * generator.standard_normal(shape[:2])
    gold = np.minimum(gold, (bars + ceiling)[..., None])
    errors = generator.standard_t(3, shape) / 3**0.5 if heavy else generator.standard_normal(shape)
    errors = noise * errors + (generator.random(shape) < rate) * generator.uniform(2, 6, shape)
    spreads = SPREAD * np.exp(logs)
    references = Q85 * spreads * np.sqrt(1 + noise**2)
    names = ("helpful", "harmless", "concise", "courteous")[:num_properties]
    return DiagnosedSamples(names, spreads[..., None] * (gold + errors), references, gold, bars)
