"""What a trial is: its plan, its point of the space, its folder and the files that say how it stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actors.cluster.supervision import ActorNames
from pipelines.config.earlier import renamed
from pipelines.config.run import RunConfig
from pipelines.sweep.score import Source
from pipelines.sweep.space import Point, Space, point_config

RESULT, PRUNED, FAILED, POINT, LOG = "result.json", "pruned.json", "failed.json", "point.json", "log.txt"
TRIALS, SFT_SAMPLES = "trials", "sft_samples.parquet"


@dataclass(frozen=True)
class TrialPlan:
    """What every trial is told. Travels to the trial's process; `run` has absolute folders."""

    space: Space
    run: RunConfig
    folder: Path  # of the sweep
    shared: ActorNames
    source: Source
    kl_budget: float | None
    session: str  # of the sweep's process: failures of an earlier one may be tried again
    source_name: str  # the sweep file, for messages


def trial_config(point: Point, plan: TrialPlan) -> RunConfig:
    """The run of a trial: the base run with the point's changes, in a folder of its own."""
    config = point_config(point, plan.run, source=plan.source_name)
    return config.model_copy(
        update={
            "name": point.name,
            "output_dir": plan.folder / TRIALS,
            "base": plan.run.base_folder,
            "comparison": None,
            "tracking": config.tracking.model_copy(update={"group": config.tracking.group or plan.folder.name}),
        }
    )


def point_entry(point: Point) -> dict[str, Any]:
    """A point as JSON."""
    return {"name": point.name, "choice": point.choice, "labels": point.labels, "changes": point.changes}


def stored_choice(content: Mapping[str, Any]) -> dict[str, int | float]:
    """The choice in a trial's `point.json` or `result.json`; an axis may be a key that has moved since."""
    return renamed(content["choice"])


def trial_folders(sweep: Path) -> Sequence[Path]:
    """The run folders of all trials that were started, in the order of their start."""
    points = list((sweep / TRIALS).glob(f"*/{POINT}"))
    return [path.parent for path in sorted(points, key=lambda path: path.stat().st_mtime_ns)]
