"""One seed: the run that nobody disturbs, then the disturbed one, started again whenever its driver ends.

Whoever calls this again goes on where it was interrupted: kills, steps and endings stand in `events.jsonl`.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from actors.cluster.cast import spawn
from allgood.errors import AllgoodError
from experiments.chaos.driver import EVENTS
from experiments.chaos.world import DISTURBED, WHOLE, make_world, run_config
from pipelines.alignment.align import run_align
from pipelines.cast.request import align_request
from pipelines.output.metrics_log import MetricsLog
from pipelines.output.progress import say
from pipelines.references.build import build_references
from pipelines.run.folder import RunFolder
from pipelines.run.session import ray_session

MAX_OTHER_ENDINGS = 3  # a Ray that does not start on a busy machine, say; more of them are a defect


@dataclass(frozen=True)
class Ending:
    """How a driver ended: its exit status, negative for a signal, and when."""

    status: int
    time: float


def run_seed(folder: Path, seed: int) -> None:
    """Both runs of a seed, as far as they are not there.

    Raises:
        AllgoodError: Drivers ended too often by something else than our kills.
    """
    if not RunFolder(run_config(folder, seed, WHOLE).folder).summary.is_file():
        _run_whole(folder, seed)
    log = MetricsLog(folder / EVENTS)
    while not (endings := endings_in(log.read())) or endings[-1].status:
        if sum(ending.status != -signal.SIGKILL for ending in endings) > MAX_OTHER_ENDINGS:
            raise AllgoodError(f"drivers ended with {[ending.status for ending in endings]}; {_said(folder)} says why")
        say(f"chaos, seed {seed}: driver {len(endings)} of the disturbed run starts")
        log.append({"ending": asdict(_drive(folder, seed))})


def endings_in(events: list[dict[str, Any]]) -> list[Ending]:
    """How the drivers ended that the events tell of."""
    return [Ending(**row["ending"]) for row in events if "ending" in row]


def _run_whole(folder: Path, seed: int) -> None:
    say(f"chaos, seed {seed}: the run that nobody disturbs")
    make_world(folder)
    whole = run_config(folder, seed, WHOLE)
    with ray_session(), spawn(align_request(whole), tell=say) as cast:
        build_references(whole, cast)
        run_align(whole, cast, overwrite=True)


def _drive(folder: Path, seed: int) -> Ending:
    command = [sys.executable, "-m", "experiments.chaos.driver", str(folder), str(seed)]
    environment = os.environ | dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    with _said(folder).open("a") as log:
        status = subprocess.run(command, stdout=log, stderr=log, env=environment, check=False).returncode
    return Ending(status, time.time())


def _said(folder: Path) -> Path:
    return folder / f"{DISTURBED}.log"
