"""`allgood sweep`: alignment runs over a search space, on shared frozen models, with a front at the end.

Everything that can be wrong is reported before anything starts: every point of a grid (or the corners of a range) as a
run of its own, who judges, whether the cluster can ever hold one trial. Then the base is completed, the frozen actors
start, and Ray Tune runs the trials. `results.parquet`, `summary.json` and `report.html` are written from the trials'
folders.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import uuid
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from allgood.errors import ConfigError, PlacementError, RoleError
from allgood.scorers import yaml12
from pipelines.cast.finished_models import refuse_unfit_models
from pipelines.cast.threads import with_run_threads
from pipelines.config.earlier import renamed, with_first_defaults
from pipelines.config.loading import stored_config
from pipelines.config.run import RunConfig
from pipelines.config.sweep import OptunaSearch, SweepConfig
from pipelines.data import load_prepared
from pipelines.data.prompt_order import run_prompts
from pipelines.evaluation.samples import test_prompts
from pipelines.output.files import atomic_path, claimed, write_json
from pipelines.output.progress import say
from pipelines.run.folder import RunFolder
from pipelines.run.last_words import last_words
from pipelines.run.session import ray_session
from pipelines.storage.copy import refuse_storage
from pipelines.sweep import results
from pipelines.sweep.final_table import final_table
from pipelines.sweep.judge import judge_source, load_opponents, refuse_unmet, unjudged_notice
from pipelines.sweep.placement import Room, num_fitting, refuse_too_large
from pipelines.sweep.plan import SFT_SAMPLES, TrialPlan, trial_folders
from pipelines.sweep.report import write_sweep_report
from pipelines.sweep.score import Source
from pipelines.sweep.shared import Shared, forget_trial, frozen_actors, make_base, make_samples
from pipelines.sweep.space import Point, Space, planned, point_config, space_of
from pipelines.sweep.unjudged import refuse_choices, start_policy

CONFIG, SUMMARY, TABLE = "sweep.yaml", "summary.json", "results.parquet"
_MAY_CHANGE = frozenset({"kl_budget", "retries", "max_concurrent"})  # between start and resume


def run_sweep(sweep: SweepConfig, run: RunConfig, *, source_name: str, resume: bool = False) -> dict[str, Any]:
    """Run a sweep, or continue it, and return what `summary.json` holds.

    Raises:
        ConfigError: The space, the judge or the folder is not what a sweep needs, or it asks for choices that nobody
            can judge; names what to change.
        PlacementError: The cluster can never hold a trial, or no longer can, after it has lost a node.
        RoleError: It has no place for the shared actors that ran on a node which it has lost.
    """
    refuse_storage(run, "sweep")
    sweep = sweep.model_copy(update={"output_dir": sweep.output_dir.resolve()})
    run = _absolute(run)
    try:
        space = space_of(sweep, run)
        points = planned(space, sweep)
    except ConfigError as error:
        raise ConfigError(f"{source_name}: {error}") from error
    trials = _checked_runs(space, points, run, source_name)
    source = judge_source(run)
    if source == "nobody":
        refuse_choices(sweep)
    refuse_unfit_models(run)
    _refuse_unprunable(sweep, trials)
    refuse_occupied(sweep, run, resume=resume)
    notice = unjudged_notice(run, source)
    if notice is not None:
        say(notice)
    if points is not None:
        say(f"{len(points)} trials of up to {max(trial.align.steps for trial in trials)} steps")
    with last_words("the same command with --resume continues the sweep"), ray_session():
        refuse_too_large(run, evaluators=source == "evaluator")
        with only_driver(sweep, run):
            return _run(sweep, run, space, points, trials, source, source_name)


def _run(
    sweep: SweepConfig,
    run: RunConfig,
    space: Space,
    points: Sequence[Point] | None,
    trials: Sequence[RunConfig],
    source: Source,
    source_name: str,
) -> dict[str, Any]:
    make_base(run, source)
    run = with_run_threads(run, num_lanes=num_fitting(run, _most_at_a_time(sweep, points)))
    with frozen_actors(run, source, name=_actors_name(sweep)) as shared:
        samples = sweep.folder / SFT_SAMPLES
        make_samples(run, trials, test_prompts(run), shared, source=source, sft_samples=samples)
        _refuse_unmet(run, trials, source)
        _fit(sweep, run, space, points, trials, source, shared, source_name)
    summary = write_results(sweep, run, space)
    say(final_table(summary))
    return summary


def _refuse_unmet(run: RunConfig, trials: Sequence[RunConfig], source: Source) -> None:
    """DataError: a trial would evaluate on validation prompts without cached samples, and find out while it trains."""
    opponents = load_opponents(run, source)
    prompts = load_prepared(RunFolder(run.base_folder).data).prompts
    for trial in trials:
        evaluated = run_prompts(trial, prompts, "validation")[: trial.align.max_evaluation_prompts]
        refuse_unmet(opponents, [prompt.id for prompt in evaluated])


def _actors_name(sweep: SweepConfig) -> str:
    """Another name for each folder: two people's sweeps of one name may share a cluster."""
    return f"sweep.{sweep.name}.{hashlib.sha256(str(sweep.folder).encode()).hexdigest()[:6]}"


def write_results(sweep: SweepConfig, run: RunConfig, space: Space) -> dict[str, Any]:
    """Table, summary and report of the trials that are there."""
    source = judge_source(run)
    table = results.trial_table(sweep.folder, space)
    settings, left_out = results.settings_of(table, space), results.left_out(table, space)
    summary: dict[str, Any] = {
        "name": sweep.name,
        "trials": results.counts(table),
        "failed": {row["name"]: row["reason"] for row in table if row["status"] == "failed"},
        "judge": source,
        **(
            {"start_policy": start_policy(sweep.folder / SFT_SAMPLES, run)}
            if source == "nobody"
            else _choices(sweep, settings)
        ),
        "settings": [results.as_json(setting) for setting in settings],
        "left_out": [vars(setting) for setting in left_out],
        "report": str(sweep.folder / "report.html"),
    }
    with atomic_path(sweep.folder / TABLE) as temporary:
        pq.write_table(pa.Table.from_pylist(table), temporary)
    write_json(sweep.folder / SUMMARY, summary)
    write_sweep_report(sweep, run, table, settings, left_out, summary, source)
    return summary


def _choices(sweep: SweepConfig, settings: Sequence[results.Setting]) -> dict[str, Any]:
    chosen = results.recommended(settings, sweep.kl_budget)
    return {
        "kl_budget": sweep.kl_budget,
        "hypervolume": results.front_area(settings, sweep.kl_budget),
        "recommended": results.as_json(chosen) | {"command": results.training_command(chosen, sweep)}
        if chosen
        else None,
        "front": [results.as_json(setting) for setting in settings if setting.on_front],
    }


def _checked_runs(space: Space, points: Sequence[Point] | None, run: RunConfig, source_name: str) -> list[RunConfig]:
    """The run of every point that is known, else of the corners of the space."""
    known = points if points is not None else [space.point(choice) for choice in space.corners()]
    return [point_config(point, run, source=source_name) for point in known]


def _refuse_unprunable(sweep: SweepConfig, trials: Sequence[RunConfig]) -> None:
    if sweep.mode.early_stopping.kind == "none":
        return
    longest = max(trial.align.steps for trial in trials)
    if sweep.mode.early_stopping.kind == "asha" and sweep.mode.early_stopping.grace_steps >= longest:
        raise ConfigError(
            f"mode.early_stopping.grace_steps is {sweep.mode.early_stopping.grace_steps}, and no trial is longer than "
            f"{longest} steps, so that none would end early; lower it, or set mode.early_stopping.kind to none"
        )
    for trial in trials:
        if trial.align.evaluate_every >= trial.align.steps:
            raise ConfigError(
                f"early stopping needs evaluations before the end, but align.evaluate_every is "
                f"{trial.align.evaluate_every} of {trial.align.steps} steps; evaluate more often, or set "
                "mode.early_stopping.kind to none"
            )


def _fit(
    sweep: SweepConfig,
    run: RunConfig,
    space: Space,
    points: Sequence[Point] | None,
    trials: Sequence[RunConfig],
    source: Source,
    shared: Shared,
    source_name: str,
) -> None:
    from pipelines.sweep.board import Board
    from pipelines.sweep.tuning import fit

    plan = TrialPlan(
        space=space,
        run=run,
        folder=sweep.folder,
        shared=shared.names,
        source=source,
        kl_budget=sweep.kl_budget,
        session=uuid.uuid4().hex,
        source_name=source_name,
    )
    longest = max(trial.align.steps for trial in trials)
    total = _num_trials(sweep, points)
    concurrent = num_fitting(run, _most_at_a_time(sweep, points))
    say(f"{total} trials, {concurrent} at a time")
    room = Room(run, evaluators=source == "evaluator")

    def check() -> None:
        shared.guard.check()
        room.check()

    board = Board(
        space,
        sweep.folder,
        plan.session,
        total,
        source,
        forget=partial(forget_trial, shared.names),
        check=check,
    )
    try:
        fit(sweep, plan, points, longest=longest, concurrent=concurrent, callback=board)
    except (RoleError, PlacementError):
        say(f"the sweep is stopped; the same command with --resume continues it: {sweep.folder}")
        raise
    finally:
        board.close()


def _num_trials(sweep: SweepConfig, points: Sequence[Point] | None) -> int:
    return sweep.search.trials if isinstance(sweep.search, OptunaSearch) else len(points or [])


def _most_at_a_time(sweep: SweepConfig, points: Sequence[Point] | None) -> int:
    total = _num_trials(sweep, points)
    return min(total, sweep.max_concurrent or total)


def refuse_occupied(sweep: SweepConfig, run: RunConfig, *, resume: bool) -> None:
    """ConfigError: the folder holds a sweep and `resume` is not set, or it holds another one."""
    path = sweep.folder / CONFIG
    if (sweep.folder / "config.yaml").is_file():
        raise ConfigError(f"{sweep.folder} holds a run, whose report the sweep's would replace; choose another `name`")
    if path.is_file() and trial_folders(sweep.folder):  # one that was refused before its first trial holds nothing yet
        if not resume:
            raise ConfigError(
                f"{sweep.folder} already holds a sweep; continue it with --resume, or choose another `name`"
            )
        _refuse_other_sweep(path, _content(sweep, run))
    elif resume:
        say(f"{sweep.folder} holds no sweep yet; starting it")


def _content(sweep: SweepConfig, run: RunConfig) -> dict[str, Any]:
    return {"sweep": sweep.model_dump(mode="json"), "run": run.model_dump(mode="json")}


def _refuse_other_sweep(path: Path, content: dict[str, Any]) -> None:
    earlier = _stored_content(path)
    ends_early = content["sweep"]["mode"]["early_stopping"]["kind"] != "none"
    if ends_early and earlier["sweep"]["kl_budget"] != content["sweep"]["kl_budget"]:
        raise ConfigError(
            f"trials of {path.parent} were ended early for what they reach within {earlier['sweep']['kl_budget']:g} "
            "nats, and others would have been within another kl_budget; put it back, or choose another `name`"
        )
    now = {**content, "run": with_first_defaults(content["run"])}
    for part in ("sweep", "run"):
        for key, value in now[part].items():
            # As text, since the order counts too: a trial keeps the position of its values, and its name their order.
            if key not in _MAY_CHANGE and json.dumps(earlier[part].get(key)) != json.dumps(value):
                raise ConfigError(
                    f"{path.parent} was started with another `{key}` of the {part} file; put it back, "
                    "or choose another `name`"
                )


def _stored_content(path: Path) -> dict[str, Any]:
    """What the sweep file of a sweep's folder holds, in today's form."""
    stored = yaml12.parse(path.read_text(encoding="utf-8"), source=str(path))
    sweep, run = stored["sweep"], stored_config(stored["run"], source=str(path))
    by_key = {"overrides": renamed(sweep["overrides"]), "space": renamed(sweep["space"])}
    arms = {name: renamed(changes) for name, changes in sweep["arms"].items()}
    return {"sweep": {**sweep, **by_key, "arms": arms}, "run": with_first_defaults(run.model_dump(mode="json"))}


@contextlib.contextmanager
def only_driver(sweep: SweepConfig, run: RunConfig) -> Iterator[None]:
    """Claim the sweep's folder and its base for this process, and write what is about to run.

    Raises:
        ConfigError: Another process runs this sweep, or another sweep on this base, whose table might be built again.
    """
    base = run.base_folder
    with (
        claimed(sweep.folder / ".lock", f"another process is running the sweep in {sweep.folder}"),
        claimed(
            base / ".sweep.lock",
            f"another sweep is running on the base {base}; wait for it, or give this one a base of its own (`name` "
            "under `overrides`)",
        ),
    ):
        with atomic_path(sweep.folder / CONFIG) as temporary:
            temporary.write_text(yaml12.dump(_content(sweep, run)), encoding="utf-8")
        yield


def _absolute(run: RunConfig) -> RunConfig:
    # A trial's process may have another current directory.
    return run.model_copy(
        update={"output_dir": run.output_dir.resolve(), "base": run.base.resolve() if run.base else None}
    )
