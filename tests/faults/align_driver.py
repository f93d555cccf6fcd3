"""A driver in a process of its own, to be killed: `python -m tests.faults.align_driver FOLDER NAME STALENESS`."""

from __future__ import annotations

import sys
from pathlib import Path

from pipelines.alignment.align import run_align
from pipelines.config.run import RunConfig
from pipelines.run.termination import hear_sigterm
from tests.pipelines.tiny_run import tiny_config

NUM_STEPS = 14


def long_config(folder: Path, name: str, staleness: int = 0) -> RunConfig:
    """A tiny run with enough steps, evaluations and checkpoints to be killed in; its controller has a state."""
    config = tiny_config(
        folder, name, kl={"coefficient": 0.2, "controller": {"kind": "adaptive", "target": 0.5, "horizon": 50}}
    )
    align = {
        "steps": NUM_STEPS,
        "evaluate_every": 5,
        "checkpoint_every": 2,
        "keep_checkpoints": 2,
        "staleness": staleness,
    }
    return config.model_copy(update={"align": config.align.model_copy(update=align)})


if __name__ == "__main__":
    hear_sigterm()
    run_align(long_config(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
