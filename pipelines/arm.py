"""From a run's configuration to what its learner is told."""

from __future__ import annotations

from actors.learner_specs import ArmSpec, OptimizerSpec, Ppo, Rloo
from pipelines.config.rl import PpoAlgorithm
from pipelines.config.run import RunConfig


def arm_spec(config: RunConfig) -> ArmSpec:
    """Optimiser, algorithm, length and seed of one training."""
    algorithm = config.align.algorithm
    chosen = Ppo(**algorithm.model_dump()) if isinstance(algorithm, PpoAlgorithm) else Rloo()
    optimizer = OptimizerSpec(**config.align.optimizer.model_dump())
    return ArmSpec(optimizer=optimizer, algorithm=chosen, total_steps=config.align.steps, seed=config.seed)
