"""What the study runs: per world, gamma for every objective and target KL by tilting, and the tuned raw sum's weights.

Gammas come from `solve_gamma` on cached samples of the SFT policy on alignment prompts, so that different scales of
utility meet at the same target KLs. The raw sum's weights are tuned on validation prompts by gold, its fair form.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from allgood.tilting import solve_gamma, tilt
from experiments.study.matched import arm_at, utilities_of
from pipelines.comparison.arms import Arm, lsc_sum, raw_sum
from pipelines.config.data import WorldConfig
from pipelines.config.properties import QuantileReference
from pipelines.config.run import RunConfig
from pipelines.objective.gold import gold_of
from pipelines.references.cached_samples import CachedSamples, load_cached_samples

TARGET_KLS = (0.25, 0.5, 1.0, 2.0)
RATIOS = tuple(float(ratio) for ratio in np.geomspace(1 / 8, 8, 9))


def study_arms(config: RunConfig, targets: Sequence[float]) -> list[tuple[Arm, float]]:
    """Every arm of one world with its target KL: LSC sum, raw sum, tuned raw sum; with shortcuts also LSC at 85 %."""
    assert isinstance(config.world, WorldConfig)
    alignment, validation = load_cached_samples(config, "alignment"), load_cached_samples(config, "validation")
    arms = []
    for target in targets:
        tuned = raw_sum(config, weights=tuned_weights(config, validation, target))
        objectives = {"lsc_sum": lsc_sum(config), "raw_sum": raw_sum(config), "raw_sum_tuned": tuned}
        if config.world.shortcut_strength:  # one of the two kinds of world is enough for this question
            objectives["lsc_sum_q85"] = lsc_sum(with_quantile_references(config))
        arms += [(arm_at(chosen, label, alignment, target), target) for label, chosen in objectives.items()]
    return arms


def with_quantile_references(config: RunConfig) -> RunConfig:
    """The same run with every property at its 85 % quantile."""
    properties = {
        name: setting.model_copy(update={"reference": QuantileReference()})
        for name, setting in config.properties.items()
    }
    return config.model_copy(update={"properties": properties})


def tuned_weights(config: RunConfig, samples: CachedSamples, target_kl: float) -> dict[str, float]:
    """The raw sum's weights with the highest predicted gold both-good rate at `target_kl`, by tilting."""
    gold = gold_of(config)
    assert gold is not None
    good = samples.all_good(gold.bars)
    first, second = config.properties

    def predicted(ratio: float) -> float:
        utilities = utilities_of(raw_sum(config, weights=weights(ratio)), samples)
        return float(tilt(utilities, solve_gamma(utilities, target_kl)).expect(good).mean())

    def weights(ratio: float) -> dict[str, float]:
        return {first: ratio**0.5, second: ratio**-0.5}

    return weights(max(RATIOS, key=predicted))


def results_path(folder: Path, seed: int, shortcuts: bool) -> Path:
    """Where the numbers of one world lie."""
    return folder / f"seed_{seed}_{'on' if shortcuts else 'off'}.json"
