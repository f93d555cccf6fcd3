"""The run that is disturbed: a random tiny policy, two reward functions, ten prompts, one thread per process."""

from __future__ import annotations

from pathlib import Path

from actors.cluster.placement import Resources
from experiments.chaos.kills import NUM_STEPS
from pipelines.cast.request import role_resources
from pipelines.config.run import RunConfig
from tests.pipelines.tiny_run import make_base, tiny_config

WHOLE, DISTURBED = "whole", "disturbed"  # names of the two runs of a seed


def make_world(folder: Path) -> None:
    """Prompts and the start policy, the same for every seed."""
    make_base(folder)


def run_config(folder: Path, seed: int, name: str) -> RunConfig:
    """A run of 60 steps with two rollout actors and a checkpoint every fifth step."""
    config = tiny_config(folder, name, seed=seed, threads=1, kl={"coefficient": 0.2})
    align = {"steps": NUM_STEPS, "evaluate_every": 20, "checkpoint_every": 5, "keep_checkpoints": 2}
    placement = {"rollout": Resources(cpus=0.1, replicas=2), "timeout_s": 600.0}
    return config.model_copy(
        update={
            "align": config.align.model_copy(update=align),
            "placement": config.placement.model_copy(update=placement),
        }
    )


def replicas_of(config: RunConfig) -> dict[str, int]:
    """Role to number of actors."""
    return {role: resources.replicas for role, resources in role_resources(config).items()}
