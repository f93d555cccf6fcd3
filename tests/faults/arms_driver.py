"""A comparison of two arms in a process of its own, to be interrupted: `python -m tests.faults.arms_driver FOLDER`."""

from __future__ import annotations

import sys
from pathlib import Path

from pipelines.comparison.arms import Arm, arm_of, kept_actors, run_arms
from pipelines.config.run import RunConfig
from pipelines.evaluation.samples import test_prompts
from pipelines.run.session import ray_session
from tests.pipelines.tiny_run import CONSTANT, tiny_config

STEPS = 10_000  # nobody waits for their end


def endless_config(folder: Path) -> RunConfig:
    """A tiny run of far too many steps."""
    config = tiny_config(folder, "comparison", properties=CONSTANT)
    return config.model_copy(update={"align": config.align.model_copy(update={"steps": STEPS})})


def arms(folder: Path) -> list[Arm]:
    """Two arms, which run side by side."""
    return [arm_of(endless_config(folder), f"arm{coefficient}", coefficient) for coefficient in (0.1, 0.2)]


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    config = endless_config(folder)
    with ray_session(), kept_actors(config, num_lanes=2) as lanes:
        run_arms(arms(folder), lanes, test_prompts(config))
