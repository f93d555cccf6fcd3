"""What tilting predicts for a setting, without training: gold against KL from SFT samples on test prompts.

The KL of N samples is bounded by log N and read too low near it (docs/reference/definitions.md); targets are therefore
kept below 2 nats of 64 samples, and the flag of `allgood.tilting` is stored with every point.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from allgood.best_of_k import best_of_k, kl_estimate
from allgood.shortcuts import SHORTCUTS
from allgood.tilting import solve_gamma, tilt
from experiments.study.matched import utilities_of
from pipelines.config.run import RunConfig
from pipelines.references.cached_samples import CachedSamples

TARGETS = (0.1, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0)
Values = Mapping[str, Tensor]


def measured_values(cached: CachedSamples, bars: Mapping[str, float]) -> dict[str, Tensor]:
    """What is asked of every sample, [prompts, samples]: over every bar, over each, list, consult."""
    return {
        "both_good": cached.all_good(bars),
        **{f"good.{name}": (cached.gold[name] >= bar).double() for name, bar in bars.items()},
        **{name: _detected(cached, name) for name in ("lists", "consult")},
    }


def _detected(cached: CachedSamples, shortcut: str) -> Tensor:
    detect = SHORTCUTS[shortcut]
    return torch.tensor([[detect(text) for text in samples] for samples in cached.responses], dtype=torch.float64)


def tilted_curve(config: RunConfig, cached: CachedSamples, values: Values) -> list[dict[str, Any]]:
    """One point per target KL that the samples can show: gamma, KL, means of `values`, and the reliability flag."""
    utilities = utilities_of(config, cached)
    points = []
    for target in TARGETS:
        try:
            gamma = float(solve_gamma(utilities, target))
        except ValueError:  # beyond what the samples can show
            break
        tilted = tilt(utilities, gamma)
        means = {name: float(tilted.expect(value).mean()) for name, value in values.items()}
        points.append({"gamma": gamma, "kl": float(tilted.kl.mean()), "reliable": bool(tilted.reliable), **means})
    return points


def best_of_k_curve(config: RunConfig, cached: CachedSamples, values: Values) -> list[dict[str, Any]]:
    """One point per power of two k: KL estimate and means of `values` under best-of-k by the config's objective."""
    utilities = utilities_of(config, cached)
    curves = {name: best_of_k(utilities, value) for name, value in values.items()}
    ks = [2**power for power in range(utilities.shape[1].bit_length()) if 2**power <= utilities.shape[1]]
    return [
        {"k": k, "kl": kl_estimate(utilities, k), **{name: float(curve[k - 1]) for name, curve in curves.items()}}
        for k in ks
    ]
