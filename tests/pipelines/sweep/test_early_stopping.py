"""Who ends early: real Ray Tune decides, told by trials whose training is stood in for by the scores they report."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.tune.schedulers import TrialScheduler

from actors.cluster.supervision import ActorNames
from pipelines.alignment.loop import State, Step, Validation
from pipelines.config.run import RunConfig
from pipelines.config.sweep import SweepConfig
from pipelines.output.files import write_json
from pipelines.output.metrics_log import MetricsLog
from pipelines.run.folder import RunFolder
from pipelines.sweep.plan import PRUNED, RESULT, TRIALS, TrialPlan
from pipelines.sweep.space import space_of
from pipelines.sweep.trial import ends_training, run_trial
from pipelines.sweep.tuning import scheduler
from tests.pipelines.sweep.tiny_sweep import tiny_base, tiny_sweep

Scores = Mapping[int, float]  # win rate of each evaluated step
ASHA: dict[str, Any] = {"kind": "asha"}


def asha_sweep(folder: Path, **stopping: Any) -> SweepConfig:
    mode = {"kind": "single_objective", "early_stopping": {**ASHA, **stopping}}
    space = {"kl.coefficient": {"kind": "values", "values": [0.1, 0.2]}}
    return tiny_sweep(folder, "asha", space=space, mode=mode, kl_budget=9.0)


def ended_at(asha: Any, trials: Sequence[Scores]) -> list[int | None]:
    """Steps at which the trials, one after another, are told to stop; None for one that never is."""
    ends: list[int | None] = []
    for index, scores in enumerate(trials):
        trial = SimpleNamespace(trial_id=str(index))
        asha.on_trial_add(None, trial)
        stops = (
            step
            for step, score in scores.items()
            if asha.on_trial_result(None, trial, {"step": step, "score": score}) == TrialScheduler.STOP
        )
        ends.append(next(stops, None))
    return ends


def test_an_evaluation_counts_for_the_highest_rung_that_it_has_reached_and_once(tmp_path: Path) -> None:
    # Rungs 1, 3, 9, 27. The second trial is ahead at 12 (rung 9) and 36 (rung 27), which decide; 24 and 48 do not.
    asha = scheduler(asha_sweep(tmp_path), 48)
    first = {12: 0.60, 24: 0.70, 36: 0.70, 48: 0.70}
    second = {12: 0.61, 24: 0.50, 36: 0.71, 48: 0.50}
    assert ended_at(asha, [first, second]) == [None, None]
    assert ended_at(scheduler(asha_sweep(tmp_path), 48), [first, {**second, 36: 0.50}]) == [None, 36]


def test_rungs_reach_to_the_end_of_the_longest_trial(tmp_path: Path) -> None:
    # Rungs 20, 40, 80: a trial of 96 steps goes on beyond 48, and is compared again at 80.
    long = {24: 0.6, 48: 0.7, 72: 0.7, 84: 0.8, 96: 0.8}
    asha = scheduler(asha_sweep(tmp_path, grace_steps=20, reduction_factor=2), 96)
    assert ended_at(asha, [long, {**long, 84: 0.7}]) == [None, 84]


def test_training_ends_with_its_steps_or_at_its_kl_limit(tmp_path: Path) -> None:
    align = tiny_base(tmp_path).align.model_copy(update={"steps": 6, "stop_at_kl": 2.0})
    rows = [{"step": step, "validation.kl_k1_mean": kl} for step, kl in ((4, 1.9), (4, 2.0), (6, 1.0))]
    assert [ends_training(row, align) for row in rows] == [False, True, True]


class _Ended(BaseException):
    """Stands in for Tune, which ends a trial's process inside `tune.report`."""


def log_row(step: int, win_rate: float) -> dict[str, float]:
    return {"step": step, "validation.win_rate": win_rate, "validation.kl_k1_mean": 1.0}


def training(trials: Mapping[float, Scores]) -> Callable[[RunConfig, TrialPlan, Callable[[Step], None]], Any]:
    """An alignment that only reports; `trials` has the win rates per KL coefficient."""

    def train(config: RunConfig, plan: TrialPlan, observe: Callable[[Step], None]) -> dict[str, Any]:
        log = MetricsLog(RunFolder(config.folder).metrics)
        for step, win_rate in trials[config.kl.coefficient].items():
            if step not in [row["step"] for row in log.read()]:
                log.append(log_row(step, win_rate))
                validation = Validation(0.0, 1.0, {"win_rate": win_rate, "kl_k1_mean": 1.0})
                observe(Step(State(step, step, 0.1, {}), {}, {}, validation))
        return {"steps": config.align.steps}

    return train


def run_both(sweep: SweepConfig, run: RunConfig, told: Callable[[int, dict[str, float]], str]) -> list[Path]:
    """Run the two trials as Tune would; returns their folders. `told` answers a trial's reports."""
    space = space_of(sweep, run)
    names = ActorNames("shared", "none", ())
    plan = TrialPlan(space, run, sweep.folder, names, "gold", sweep.kl_budget, "session", "asha.yaml")
    folders = []
    with pytest.MonkeyPatch.context() as patch:
        for index, choice in enumerate(space.grid()):
            folder = sweep.folder / TRIALS / space.point(choice).name

            def report(result: dict[str, float], index: int = index, folder: Path = folder) -> None:
                if told(index, result) == TrialScheduler.STOP:
                    raise _Ended

            patch.setattr("ray.tune.report", report)
            try:
                run_trial({"choice": choice}, plan)
            except _Ended:
                if not (folder / RESULT).is_file():
                    write_json(folder / PRUNED, {})
            folders.append(folder)
    return folders


def answers(asha: Any) -> Callable[[int, dict[str, float]], str]:
    trials = [SimpleNamespace(trial_id=str(index)) for index in range(2)]
    for trial in trials:
        asha.on_trial_add(None, trial)
    return lambda index, result: asha.on_trial_result(None, trials[index], result)


# Rungs 1 and 3: the second trial is ahead at step 2, and behind at step 6 alone, where its training has ended.
WEAK_AT_THE_END = {0.1: {2: 0.60, 6: 0.80}, 0.2: {2: 0.61, 6: 0.70}}


def test_a_trial_that_is_told_to_stop_at_its_last_step_has_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.sweep.execution.align_and_measure", training(WEAK_AT_THE_END))
    sweep, run = asha_sweep(tmp_path), tiny_base(tmp_path)
    decisions: list[str] = []
    tune = answers(scheduler(sweep, run.align.steps))

    def told(index: int, result: dict[str, float]) -> str:
        decisions.append(tune(index, result))
        return decisions[-1]

    folders = run_both(sweep, run, told)
    assert decisions[-1] == TrialScheduler.STOP  # so the order of result and report is what this test sees
    assert [(folder / RESULT).is_file() for folder in folders] == [True, True]


def test_a_trial_that_was_killed_after_its_last_step_is_measured_before_that_step_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.sweep.execution.align_and_measure", training(WEAK_AT_THE_END))
    sweep, run = asha_sweep(tmp_path), tiny_base(tmp_path)
    space = space_of(sweep, run)
    killed = sweep.folder / TRIALS / space.point({"kl.coefficient": 1}).name
    for step, win_rate in WEAK_AT_THE_END[0.2].items():
        MetricsLog(RunFolder(killed).metrics).append(log_row(step, win_rate))
    folders = run_both(sweep, run, answers(scheduler(sweep, run.align.steps)))
    assert [(folder / RESULT).is_file() for folder in folders] == [True, True]
    assert json.loads((killed / RESULT).read_text())["steps"] == run.align.steps
