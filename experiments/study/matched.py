"""An arm whose KL coefficient comes from a target KL: different utilities meet at matched KL, never at equal gamma."""

from __future__ import annotations

import math
from dataclasses import replace

from torch import Tensor

from allgood.tilting import solve_gamma
from pipelines.comparison.arms import Arm, arm_of
from pipelines.config.run import RunConfig
from pipelines.references.cached_samples import CachedSamples, cached_utilities
from pipelines.references.table import ReferenceTable
from pipelines.run.folder import RunFolder

FULL_RATE_KL = 2.0  # nats; the run file's learning rate is for this target


def arm_at(config: RunConfig, label: str, samples: CachedSamples, target_kl: float) -> Arm:
    """The objective of `config` at the gamma with which tilting `samples` spends `target_kl` nats.

    The learning rate grows with the square root of the target, like the distance in parameters: at low targets the
    full rate's gradient noise alone would cost more KL than the target.

    Raises:
        ValueError: The samples cannot show that KL.
    """
    paced = paced_config(config, target_kl)
    return arm_of(paced, label, float(solve_gamma(utilities_of(config, samples), target_kl)))


def paced_config(config: RunConfig, target_kl: float) -> RunConfig:
    """`config` with the learning rate for `target_kl`."""
    optimizer = config.align.optimizer
    rate = optimizer.learning_rate * math.sqrt(target_kl / FULL_RATE_KL)
    optimizer = replace(optimizer, learning_rate=rate)
    return config.model_copy(update={"align": config.align.model_copy(update={"optimizer": optimizer})})


def utilities_of(config: RunConfig, samples: CachedSamples) -> Tensor:
    """Combined utilities of the objective of `config`, [prompts, samples] (the world's scorers never fail)."""
    table = ReferenceTable.load(RunFolder(config.base_folder).references)
    return cached_utilities(config, samples, table)
