"""One trial: an alignment on actors of its own and the sweep's frozen ones, then its samples on test prompts.

A trial's run folder is the only truth about it. `result.json` says that it is finished, `pruned.json` that it was
ended early, `failed.json` why it cannot go on; whoever runs the trial again (Ray Tune after a crash, a resumed sweep)
reports from these files and repeats nothing. Otherwise it goes on from its last whole checkpoint. So nothing depends on
what Ray Tune had written of its own state, which may lag by seconds.

Tune may end a trial whenever it is told of an evaluation. It is told of the last one when the result is there: a trial
that has spent its whole training is a finished one, however weak.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from allgood.errors import AllgoodError, CheckpointError, RoleError, TrainingError
from pipelines.alignment.journal import VALIDATION
from pipelines.alignment.loop import Step
from pipelines.config.rl import AlignConfig
from pipelines.output.files import write_json
from pipelines.output.metrics_log import MetricsLog
from pipelines.run.folder import RunFolder
from pipelines.sweep.plan import FAILED, LOG, POINT, PRUNED, RESULT, TRIALS, TrialPlan, point_entry, trial_config
from pipelines.sweep.score import Source, trial_score
from pipelines.sweep.space import Point


def run_trial(config: Mapping[str, Any], plan: TrialPlan) -> None:
    """What Ray Tune calls for one point of the space.

    Raises:
        AllgoodError: Why the trial failed; its last line in `log.txt` too.
    """
    from ray import tune

    point = plan.space.point(config["choice"])
    folder = RunFolder(plan.folder / TRIALS / point.name)
    folder.path.mkdir(parents=True, exist_ok=True)
    with _alone(folder.path), _logged(folder.path / LOG):
        if (folder.path / RESULT).is_file() or (folder.path / PRUNED).is_file():
            for row in reported_rows(folder, plan.source):
                tune.report(report_of(row, plan))
            return
        _refuse_failed(folder.path, plan.session)
        write_json(folder.path / POINT, point_entry(point))
        try:
            _finish(point, folder, plan, tune.report)
        except AllgoodError as error:
            print(f"error: {error}", flush=True)
            if not isinstance(error, RoleError | CheckpointError):  # those are worth another try
                mark_failed(folder.path, str(error), plan.session, permanent=isinstance(error, TrainingError))
            raise


def reported_rows(folder: RunFolder, source: Source) -> list[dict[str, Any]]:
    """The evaluated steps in a trial's own log, oldest first."""
    rows = MetricsLog(folder.metrics).read()
    return [row for row in rows if _needed(source) in row]


def _needed(source: Source) -> str:
    """The number without which an evaluation says nothing: the win rate, or the KL where nobody judges."""
    return f"{VALIDATION}{'kl_k1_mean' if source == 'nobody' else 'win_rate'}"


def report_of(row: Mapping[str, Any], plan: TrialPlan) -> dict[str, float]:
    """What Ray Tune is told of an evaluated step. `score` is what a single-objective sweep maximises."""
    kl = float(row[f"{VALIDATION}kl_k1_mean"])
    told = {"step": float(row["step"]), "kl": kl}
    if plan.source == "nobody":
        return told
    win_rate = float(row[f"{VALIDATION}win_rate"])
    return told | {
        "win_rate": win_rate,
        "score": trial_score(win_rate, kl, plan.kl_budget),
        "utility": float(row.get(f"{VALIDATION}utility.mean", np.nan)),
    }


def mark_failed(folder: Path, reason: str, session: str, *, permanent: bool) -> None:
    """Write down why a trial will not go on; a permanent failure would happen again at the same step."""
    write_json(folder / FAILED, {"reason": reason, "permanent": permanent, "session": session})


def ends_training(row: Mapping[str, Any], align: AlignConfig) -> bool:
    """Whether nothing is trained after this evaluated step: it is the last one, or its KL ends the run."""
    is_spent = align.stop_at_kl is not None and row[f"{VALIDATION}kl_k1_mean"] >= align.stop_at_kl
    return bool(is_spent or row["step"] >= align.steps)


def _finish(point: Point, folder: RunFolder, plan: TrialPlan, report: Callable[[dict[str, float]], None]) -> None:
    # Heavy imports only now: a finished trial that reports again needs neither torch nor models.
    from pipelines.sweep.execution import align_and_measure

    config = trial_config(point, plan)

    def tell(row: Mapping[str, Any]) -> None:
        if not ends_training(row, config.align):
            report(report_of(row, plan))

    def observe(step: Step) -> None:
        if step.validation is not None:
            row = {f"{VALIDATION}{name}": value for name, value in step.validation.metrics.items()}
            if _needed(plan.source) not in row:
                what = _needed(plan.source).replace("_", " ").replace(".", " ")
                raise TrainingError(f"step {step.state.step}: the {what} is not a number")
            tell({"step": step.state.step, **row})

    for row in reported_rows(folder, plan.source):
        tell(row)
    started = time.monotonic()
    found = align_and_measure(config, plan, observe)
    write_json(folder.path / RESULT, {**point_entry(point), "seconds": time.monotonic() - started, **found})
    shutil.rmtree(folder.checkpoints, ignore_errors=True)  # the model is there, and there is nothing to go on with
    report(report_of(reported_rows(folder, plan.source)[-1], plan))


def _refuse_failed(folder: Path, session: str) -> None:
    if not (folder / FAILED).is_file():
        return
    failed = json.loads((folder / FAILED).read_text(encoding="utf-8"))
    if failed["permanent"] or failed["session"] == session:
        raise TrainingError(failed["reason"])
    (folder / FAILED).unlink()


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the folder's lock. A trial process of a killed sweep may live on for seconds, and holds it as long."""
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _logged(path: Path) -> Iterator[None]:
    """What the run says goes to a file of its own."""
    with path.open("a", encoding="utf-8") as log, contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
        yield
