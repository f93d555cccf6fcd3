"""A run, and the same on memory that runs short: `python -m tests.faults.memory_driver FOLDER`.

The third step of the second takes memory until Ray's monitor has killed one of its actors, and gives it back.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import numpy as np

from actors.cluster.cast import Cast
from pipelines.alignment.align import run_align
from pipelines.alignment.loop import Step
from pipelines.alignment.watching import Watch
from pipelines.output.progress import say
from pipelines.run.session import ray_session
from tests.faults.kills import is_alive
from tests.pipelines.tiny_run import cast_on_base, tiny_config

WHOLE, SHORT = "whole", "short"

SPARE_BYTES = 4 * 2**30  # for the actors and what else begins to run, before memory counts as short
PIECE_BYTES = 64 * 2**20
LIMIT_S = 600.0


def memory_bytes(name: str) -> int:
    """A line of /proc/meminfo."""
    lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def threshold() -> float:
    """The share of the memory from which on it is short: some more than what is taken now."""
    total = memory_bytes("MemTotal")
    return min(0.95, (total - memory_bytes("MemAvailable") + SPARE_BYTES) / total)


def take_memory_until_one_dies(cast: Cast) -> None:
    pids = {place["pid"]: role for (role, _), place in cast.places().items()}
    taken, deadline = [], time.monotonic() + LIMIT_S
    while all(is_alive(pid) for pid in pids):
        assert time.monotonic() < deadline, "Ray killed nobody"
        if memory_bytes("MemAvailable") > 0.03 * memory_bytes("MemTotal"):
            taken.append(np.ones(PIECE_BYTES, dtype=np.uint8))
        time.sleep(0.02)
    say(f"killed for memory: {[role for pid, role in pids.items() if not is_alive(pid)]}")


if __name__ == "__main__":
    os.environ["RAY_memory_usage_threshold"] = f"{threshold():.3f}"  # noqa: SIM112  (Ray's spelling)
    whole, short = (tiny_config(Path(sys.argv[1]), name) for name in (WHOLE, SHORT))
    with ray_session(), cast_on_base(whole) as cast:
        run_align(whole, cast)

        def observe(step: Step) -> None:
            if step.state.step == 3:
                take_memory_until_one_dies(cast)

        run_align(short, cast, watch=Watch(None, observe))
