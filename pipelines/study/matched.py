"""An arm whose KL coefficient comes from a target KL: unlike utilities meet at matched KL, never at equal gamma."""

from __future__ import annotations

from torch import Tensor

from allgood.tilting import solve_gamma
from pipelines.cached_samples import CachedSamples, cached_utilities
from pipelines.comparison import Arm, arm_of
from pipelines.config.run import RunConfig
from pipelines.reference_table import ReferenceTable
from pipelines.run_folder import RunFolder


def arm_at(config: RunConfig, label: str, samples: CachedSamples, target_kl: float) -> Arm:
    """The objective of `config` at the gamma with which tilting `samples` spends `target_kl` nats.

    Raises:
        ValueError: The samples cannot show that KL.
    """
    return arm_of(config, label, float(solve_gamma(utilities_of(config, samples), target_kl)))


def utilities_of(config: RunConfig, samples: CachedSamples) -> Tensor:
    """Combined utilities of the objective of `config`, [prompts, samples] (the world's scorers never fail)."""
    table = ReferenceTable.load(RunFolder(config.base_folder).references)
    return cached_utilities(config, samples, table).combined
