"""A driver of a sweep on hosts: `python -m tests.hosts.sweep_driver FOLDER`. A sweep that is there goes on.

One of the two scorers that its trials share may be at either of two places; all else is at the head.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from allgood.errors import AllgoodError
from pipelines.config.run import RunConfig
from pipelines.config.sweep import SweepConfig
from pipelines.sweep.run import run_sweep
from tests.pipelines.sweep.tiny_sweep import tiny_base, tiny_sweep

PLACES = ("left", "right")
NUM_STEPS = 30


def sweep_of(folder: Path) -> SweepConfig:
    """Two trials at the same time."""
    return tiny_sweep(folder, "hosts", space={"kl.coefficient": {"kind": "values", "values": [0.1, 0.3]}})


def base_of(folder: Path) -> RunConfig:
    """Their base run."""
    base = tiny_base(folder, threads=1)
    sections: dict[str, Any] = base.model_dump(mode="json")
    for role in ("rollout", "reference_policy", "learner"):
        sections["placement"][role]["labels"] = {"place": "head"}
    sections["properties"]["vowels"]["placement"]["labels"] = {"place": "head"}
    sections["properties"]["short"]["placement"]["labels"] = {"place": f"in({','.join(PLACES)})"}
    sections["align"]["steps"] = NUM_STEPS
    return RunConfig.model_validate(sections)


if __name__ == "__main__":
    try:
        run_sweep(sweep_of(Path(sys.argv[1])), base_of(Path(sys.argv[1])), source_name="hosts.yaml", resume=True)
    except AllgoodError as error:  # as the command line does
        sys.exit(f"Error: {error}")
