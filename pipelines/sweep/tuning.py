"""Ray Tune's part: who proposes points, who ends trials early, where each trial runs, how often it is tried again.

Tune executes; what happened stands in the trials' own folders. A resumed sweep therefore starts a new Tuner over the
same points instead of restoring Tune's pickled state: finished trials report again from their results, interrupted ones
go on from their checkpoints, and Optuna is first asked for the points that it proposed before.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from allgood.errors import AllgoodError, RoleError
from pipelines.config.sweep import Asha, MultiObjective, OptunaSearch, SweepConfig, UniformAxis, ValuesAxis
from pipelines.sweep.placement import trial_group
from pipelines.sweep.plan import POINT, TrialPlan, stored_choice, trial_folders
from pipelines.sweep.space import Point, Space
from pipelines.sweep.trial import run_trial

TUNE = "tune"  # folder of Ray Tune's own files


def fit(
    sweep: SweepConfig,
    plan: TrialPlan,
    points: Sequence[Point] | None,
    *,
    longest: int,
    concurrent: int,
    callback: Any,
) -> None:
    """Run every trial; a trial that fails is marked in its folder and does not end the sweep.

    `longest` is the number of steps of the longest trial.

    Raises:
        AllgoodError: The disk is full.
        RoleError: Ray ended a trial's process because its node had no memory left.
    """
    _settle_environment()
    from ray import tune

    shutil.rmtree(plan.folder / TUNE, ignore_errors=True)
    trainable = tune.with_resources(tune.with_parameters(run_trial, plan=plan), trial_group(plan.run))
    tuner = tune.Tuner(
        trainable,
        param_space=_param_space(plan.space, points),
        tune_config=tune.TuneConfig(
            search_alg=searcher(sweep, _earlier(plan.folder)) if points is None else None,
            scheduler=scheduler(sweep, longest),
            num_samples=sweep.search.trials if isinstance(sweep.search, OptunaSearch) else 1,
            max_concurrent_trials=concurrent,
        ),
        run_config=tune.RunConfig(
            name=TUNE,
            storage_path=str(plan.folder),
            failure_config=tune.FailureConfig(max_failures=sweep.retries),
            callbacks=[callback],
            verbose=0,
        ),
    )
    with explained(plan.folder):
        tuner.fit()


@contextmanager
def explained(folder: Path) -> Iterator[None]:
    """What ends a sweep from outside, as a sentence of ours."""
    from ray.exceptions import OutOfMemoryError

    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise AllgoodError(
                f"the disk is full while writing {folder}; free some space and continue with --resume"
            ) from error
        raise
    except RuntimeError as error:
        if isinstance(error.__cause__, OutOfMemoryError):  # Tune retries what dies, but gives up at this kind of death
            raise RoleError(
                "Ray ended a trial because its node ran out of memory, and with it the sweep; continue with --resume, "
                "with a lower `max_concurrent` or more memory"
            ) from error
        raise


def _settle_environment() -> None:
    # Relative paths of a run file are meant from where the user stands; Tune would move each trial to its own folder.
    os.environ["RAY_CHDIR_TO_TRIAL_DIR"] = "0"
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"  # the trials' own logs say all that Tune's would
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"  # it prints tables of its own even when told to be quiet
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"  # Ctrl-C ends the sweep as it ends every command
    os.environ.setdefault("TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S", "0")
    for name in ("ray.tune", "ray.train"):  # the board says in one line what Tune would log as a traceback
        logging.getLogger(name).setLevel(logging.CRITICAL)


def _param_space(space: Space, points: Sequence[Point] | None) -> dict[str, Any]:
    from ray import tune

    if points is not None:
        return {"choice": tune.grid_search([dict(point.choice) for point in points])}
    return {"choice": {axis: _domain(space, axis) for axis in space.order}}


def _domain(space: Space, axis: str) -> Any:
    from ray import tune

    if axis not in space.ranges:
        return tune.choice(list(range(len(space.values[axis]))))
    found = space.ranges[axis]
    assert not isinstance(found, ValuesAxis)
    draw = tune.uniform if isinstance(found, UniformAxis) else tune.loguniform
    return draw(found.low, found.high)


def searcher(sweep: SweepConfig, earlier: Sequence[Mapping[str, Any]]) -> Any:
    """Optuna for a sweep that has tried the choices `earlier` before: they come first, and are not proposed again.

    The sampler starts anew, and with the same seed it would draw the same numbers once more.
    """
    import optuna
    from ray.tune.search.optuna import OptunaSearch as Searcher

    assert isinstance(sweep.search, OptunaSearch)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    several = isinstance(sweep.mode, MultiObjective)
    return Searcher(
        metric=["win_rate", "kl"] if several else "score",
        mode=["max", "min"] if several else "max",
        seed=sweep.search.seed + len(earlier),
        points_to_evaluate=[{f"choice/{axis}": value for axis, value in choice.items()} for choice in earlier] or None,
    )


def _earlier(sweep: Path) -> list[Mapping[str, Any]]:
    return [stored_choice(_read(folder / POINT)) for folder in trial_folders(sweep)]


def scheduler(sweep: SweepConfig, longest: int) -> Any:
    """Who ends trials early; the rungs reach to the last step of the longest trial."""
    from ray.tune.schedulers import ASHAScheduler, FIFOScheduler

    stopping = sweep.mode.early_stopping
    if not isinstance(stopping, Asha):
        return FIFOScheduler()
    return ASHAScheduler(
        time_attr="step",
        metric="score",
        mode="max",
        max_t=longest,
        grace_period=stopping.grace_steps,  # below longest, else the sweep is refused
        reduction_factor=stopping.reduction_factor,
        # Else a trial ends when it reaches max_t, and one that has passed a rung is judged again at those below it,
        # against scores of far fewer steps.
        stop_last_trials=False,
    )


def _read(path: Path) -> Mapping[str, Any]:
    content: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content
