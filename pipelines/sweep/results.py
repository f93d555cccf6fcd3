"""What a sweep found, read from the trials' folders: one row per trial, settings averaged over seeds, their front.

A setting is chosen by its validation numbers alone: they say which settings are on the front and which one is
recommended for a KL budget. Its test numbers are what is reported. Seeds repeat the alignment on one world, one start
policy and one set of reward models, so intervals over them show the noise of training and nothing else.

A setting counts with all its seeds or not at all. Where some of them were ended early or failed, those that are left
are the lucky ones, and their mean is no estimate of what the setting does.
"""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from allgood.intervals import t_interval
from allgood.pareto import hypervolume, pareto_front
from pipelines.config.sweep import SweepConfig
from pipelines.run.folder import RunFolder
from pipelines.sweep.plan import FAILED, POINT, PRUNED, RESULT, stored_choice, trial_folders
from pipelines.sweep.space import SEED, Space

Row = Mapping[str, Any]  # of the table of trials
CHANCE = 0.5  # win rate of the start policy against itself: the corner of the hypervolume


@dataclass(frozen=True)
class Value:
    """A mean with its 95 % interval: over seeds where there are several, else over prompts where there are any."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Setting:
    """A setting of which every seed has finished. `validation` may choose, `test` is reported."""

    name: str
    labels: dict[str, str]
    changes: dict[str, Any]  # of the run file, without the seed
    trials: tuple[Path, ...]  # run folders, one per seed
    validation: dict[str, Value]
    test: dict[str, Value]
    on_front: bool | None = None  # None: nobody judges, so that there is no front

    @property
    def seeds(self) -> int:
        """Over how many the values are averaged."""
        return len(self.trials)


@dataclass(frozen=True)
class LeftOut:
    """A setting that does not count, because not every seed of it has finished."""

    setting: str
    finished: int
    planned: int  # seeds
    why: str


def trial_table(sweep: Path, space: Space) -> list[Row]:
    """One row per trial that was started, in the order of their start; all have the same columns."""
    rows = [_trial_row(folder, space) for folder in trial_folders(sweep)]
    columns = dict.fromkeys(name for row in rows for name in row)
    return [{name: row.get(name) for name in columns} for row in rows]


def _trial_row(folder: Path, space: Space) -> dict[str, Any]:
    entry = _read(folder / POINT)
    point = space.point(stored_choice(entry))
    row: dict[str, Any] = {
        "name": point.name,
        "setting": point.setting,
        **{f"axis.{axis}": label for axis, label in point.labels.items()},
        "status": _status(folder),
        "reason": _read(folder / FAILED).get("reason") if (folder / FAILED).is_file() else None,
        "folder": str(folder),
    }
    if (folder / RESULT).is_file():
        result = _read(folder / RESULT)
        row |= {"steps": result["steps"], "seconds": result["seconds"], "stopped": result["stopped"]}
        row |= {f"validation.{name}": value for name, value in result["validation"].items()}
        row["validation.kl"] = result["validation"]["kl_k1_mean"]
        for name, estimate in result["test"].items():
            row |= {f"test.{name}": estimate["value"]}
            row |= {f"test.{name}.low": estimate["low"], f"test.{name}.high": estimate["high"]}
    elif (folder / PRUNED).is_file():
        pruned = _read(folder / PRUNED)
        row |= {"steps": pruned["step"], "validation.win_rate": pruned["win_rate"], "validation.kl": pruned["kl"]}
    return row


def _status(folder: Path) -> str:
    for name, status in ((RESULT, "finished"), (PRUNED, "pruned"), (FAILED, "failed")):
        if (folder / name).is_file():
            return status
    return "unfinished"


def settings_of(trials: Sequence[Row], space: Space) -> list[Setting]:
    """Every setting whose seeds have all finished; those on the front of the validation means are marked.

    There is no front where nobody judges: no trial has a win rate then.
    """
    settings = [
        _setting(name, [Path(row["folder"]) for row in rows], space)
        for name, rows in _by_setting(trials).items()
        if _is_complete(rows, space)
    ]
    if not any("win_rate" in setting.validation for setting in settings):
        return settings
    on_front = pareto_front(
        [setting.validation["win_rate"].value for setting in settings],
        [setting.validation["kl"].value for setting in settings],
    )
    return [replace(setting, on_front=bool(found)) for setting, found in zip(settings, on_front, strict=True)]


def left_out(trials: Sequence[Row], space: Space) -> list[LeftOut]:
    """Every other setting with a trial that was started, and what became of its seeds."""
    return [
        LeftOut(name, sum(_is_finished(row) for row in rows), space.num_seeds, "; ".join(_losses(rows, space)))
        for name, rows in _by_setting(trials).items()
        if not _is_complete(rows, space)
    ]


def why_unfinished(trial: Row) -> str:
    """Of a trial without a result: why it has none."""
    if trial["reason"] is not None:
        return str(trial["reason"])
    return f"ended early at step {trial['steps']:.0f}" if trial["status"] == "pruned" else "continue it with --resume"


def _losses(rows: Sequence[Row], space: Space) -> Iterator[str]:
    for row in rows:
        if not _is_finished(row):
            yield (f"seed {row[f'axis.{SEED}']}: " if SEED in space.order else "") + why_unfinished(row)
    missing = space.num_seeds - len(rows)
    if missing > 0:
        yield f"{missing} seed{'s' if missing > 1 else ''} never started"


def _by_setting(trials: Sequence[Row]) -> dict[str, list[Row]]:
    groups: dict[str, list[Row]] = {}
    for row in trials:
        groups.setdefault(row["setting"], []).append(row)
    return groups


def _is_complete(rows: Sequence[Row], space: Space) -> bool:
    return len(rows) >= space.num_seeds and all(_is_finished(row) for row in rows)


def _is_finished(row: Row) -> bool:
    return bool(row["status"] == "finished")


def _setting(name: str, trials: Sequence[Path], space: Space) -> Setting:
    results = [_read(trial / RESULT) for trial in trials]
    point = space.point(stored_choice(results[0]))
    validation = {"win_rate": "win_rate", "kl": "kl_k1_mean", "both_good": "both_good", "utility": "utility.mean"}
    validation |= {key: key for key in results[0]["validation"] if key.startswith("win_rate.")}
    shown = {ours: key for ours, key in validation.items() if all(key in result["validation"] for result in results)}
    return Setting(
        name=name,
        labels={axis: label for axis, label in point.labels.items() if axis != SEED},
        changes={key: value for key, value in point.changes.items() if key != SEED},
        trials=tuple(trials),
        validation={
            ours: _over_seeds([result["validation"][key] for result in results]) for ours, key in shown.items()
        },
        test={
            key: _reported([result["test"][key] for result in results])
            for key in results[0]["test"]
            if all(key in result["test"] for result in results)
        },
    )


def _over_seeds(values: Sequence[float]) -> Value:
    if len(values) < 2:
        return Value(float(values[0]), None, None)
    interval = t_interval([float(value) for value in values])
    return Value(interval.value, interval.low, interval.high)


def _reported(estimates: Sequence[Mapping[str, float]]) -> Value:
    """Over seeds, or for one seed the interval from resampled test prompts."""
    if len(estimates) < 2:
        return Value(estimates[0]["value"], estimates[0]["low"], estimates[0]["high"])
    return _over_seeds([estimate["value"] for estimate in estimates])


def front_area(settings: Sequence[Setting], kl_budget: float | None) -> dict[str, Any]:
    """Hypervolume of the front, on validation and on test prompts: win rate above one half times nats saved.

    The corner is win rate 0.5 at the budget, or without one at the largest mean KL of any setting.
    """
    if not settings:
        return {"validation": 0.0, "test": 0.0, "worst_win_rate": CHANCE, "worst_kl": kl_budget}
    worst = kl_budget or max(setting.validation["kl"].value for setting in settings)
    front = [setting for setting in settings if setting.on_front]

    def area(numbers: Sequence[Mapping[str, Value]]) -> float:
        gains, costs = [n["win_rate"].value for n in numbers], [n["kl"].value for n in numbers]
        return hypervolume(gains, costs, worst_gain=CHANCE, worst_cost=worst)

    return {
        "validation": area([setting.validation for setting in front]),
        "test": area([setting.test for setting in front]),
        "worst_win_rate": CHANCE,
        "worst_kl": worst,
    }


def recommended(settings: Sequence[Setting], kl_budget: float | None) -> Setting | None:
    """The setting with the highest mean validation win rate whose mean validation KL is within the budget."""
    affordable = [s for s in settings if kl_budget is None or s.validation["kl"].value <= kl_budget]
    return max(affordable, key=lambda s: (s.validation["win_rate"].value, -s.validation["kl"].value), default=None)


def training_command(setting: Setting, sweep: SweepConfig) -> str:
    """A shell command that trains a setting once more, as its first trial was: a trial's own file is the whole truth.

    The sweep's overrides, those of its command line, and its base stand in no other file.
    """
    words = [str(RunFolder(setting.trials[0]).config), f"name={sweep.name}_chosen", f"output_dir={sweep.output_dir}"]
    return shlex.join(["allgood", "align", *words])


def why_none(summary: Mapping[str, Any]) -> str:
    """Why a sweep with this summary recommends nothing, and what to do."""
    if summary["settings"]:
        return (
            f"no setting spends at most {summary['kl_budget']:g} nats on validation prompts; raise kl_budget, or gamma"
        )
    trials = summary["trials"]
    advice = [
        *(["continue with --resume"] if trials.get("failed") or trials.get("unfinished") else []),
        *(
            ["run the most promising settings again under another `name` with mode.early_stopping.kind none"]
            if trials.get("pruned")
            else []
        ),
    ]
    return f"no setting has finished with all its seeds; {', and '.join(advice) or 'continue with --resume'}"


def counts(trials: Sequence[Row]) -> dict[str, int]:
    """Number of trials per status, the most frequent first."""
    return dict(Counter(str(row["status"]) for row in trials).most_common())


def as_json(setting: Setting) -> dict[str, Any]:
    """A setting as plain values."""
    return {
        "setting": setting.name,
        "labels": setting.labels,
        "changes": setting.changes,
        "seeds": setting.seeds,
        "trials": [str(trial) for trial in setting.trials],
        "on_front": setting.on_front,
        "validation": {name: vars(value) for name, value in setting.validation.items()},
        "test": {name: _finite(vars(value)) for name, value in setting.test.items()},
    }


def _finite(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value if value is not None and np.isfinite(value) else None for name, value in values.items()}


def _read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content
