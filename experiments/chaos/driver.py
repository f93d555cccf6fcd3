"""The process that drives a disturbed run, or resumes it: `python -m experiments.chaos.driver FOLDER SEED`."""

from __future__ import annotations

import sys
from pathlib import Path

from actors.cluster.cast import spawn
from experiments.chaos.killer import Killer
from experiments.chaos.kills import draw_kills
from experiments.chaos.world import DISTURBED, replicas_of, run_config
from pipelines.alignment.align import resume, run_align
from pipelines.alignment.watching import Watch
from pipelines.cast.request import align_request
from pipelines.output.metrics_log import MetricsLog
from pipelines.output.progress import say
from pipelines.run.session import ray_session

EVENTS = "events.jsonl"  # kills and steps, alongside the runs


def main(folder: Path, seed: int) -> None:
    """Begin the run, or go on with it, and kill what is still to be killed."""
    config = run_config(folder, seed, DISTURBED)
    with ray_session(), spawn(align_request(config), tell=say) as cast:
        killer = Killer(cast, draw_kills(seed, replicas_of(config)), MetricsLog(folder / EVENTS))
        watch = Watch(None, killer.observe)
        if (config.folder / "config.yaml").exists():
            resume(config.folder, cast, watch=watch)
        else:
            run_align(config, cast, watch=watch)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
