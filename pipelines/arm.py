"""From a run's configuration to what its learner is told."""

from __future__ import annotations

from actors.learner_specs import Algorithm, ArmSpec, Grpo, Kl, OptimizerSpec, Ppo, Reinforce, Rloo
from pipelines.config.rl import Algorithm as AlgorithmConfig
from pipelines.config.rl import GrpoAlgorithm, PpoAlgorithm, ReinforceAlgorithm, RlooAlgorithm
from pipelines.config.run import RunConfig


def arm_spec(config: RunConfig) -> ArmSpec:
    """Optimiser, algorithm, length and seed of one training."""
    optimizer = OptimizerSpec(**config.align.optimizer.model_dump())
    return ArmSpec(
        optimizer=optimizer,
        algorithm=_algorithm(config.align.algorithm),
        total_steps=config.align.steps,
        seed=config.seed,
        kl=Kl(config.kl.estimator, config.kl.placement),
    )


def _algorithm(config: AlgorithmConfig) -> Algorithm:
    match config:
        case RlooAlgorithm():
            return Rloo()
        case PpoAlgorithm():
            return Ppo(**config.model_dump())
        case ReinforceAlgorithm():
            return Reinforce()
        case GrpoAlgorithm():
            return Grpo(scale=config.scale)
