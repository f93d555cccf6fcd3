"""A sweep in a process of its own, to be killed: `python -m tests.faults.sweep_driver FOLDER`."""

from __future__ import annotations

import sys
from pathlib import Path

from pipelines.config.run import RunConfig
from pipelines.config.sweep import SweepConfig
from pipelines.sweep.run import run_sweep
from tests.pipelines.sweep.tiny_sweep import tiny_base, tiny_sweep


def killed_sweep(folder: Path) -> SweepConfig:
    """Three trials one after another, so that a kill finds one finished, one running and one waiting."""
    space = {"kl.coefficient": {"kind": "values", "values": [0.1, 0.3, 1.0]}}
    return tiny_sweep(folder, "killed", space=space, max_concurrent=1)


def long_base(folder: Path) -> RunConfig:
    """Trials with enough steps and checkpoints to be killed in."""
    base = tiny_base(folder)
    return base.model_copy(
        update={"align": base.align.model_copy(update={"steps": 12, "evaluate_every": 6, "keep_checkpoints": 2})}
    )


if __name__ == "__main__":
    run_sweep(killed_sweep(Path(sys.argv[1])), long_base(Path(sys.argv[1])), source_name="killed.yaml", resume=True)
