"""Choosing among settings: validation chooses, test reports, and a budget is a budget."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest

from pipelines.config.loading import load_config, save_config
from pipelines.output.files import write_json
from pipelines.sweep.final_table import final_table
from pipelines.sweep.plan import FAILED, POINT, PRUNED, RESULT, TRIALS, point_entry, trial_folders
from pipelines.sweep.results import LeftOut, Setting, Value, front_area, left_out, recommended, settings_of, trial_table
from pipelines.sweep.run import write_results
from pipelines.sweep.score import trial_score
from pipelines.sweep.space import Space, point_config, space_of
from tests.pipelines.sweep.tiny_sweep import tiny_base, tiny_sweep


def setting(name: str, validation: tuple[float, float], test: tuple[float, float], *, on_front: bool = True) -> Setting:
    def numbers(pair: tuple[float, float]) -> dict[str, Value]:
        return {"win_rate": Value(pair[0], None, None), "kl": Value(pair[1], None, None)}

    return Setting(name, {}, {}, (Path(name),), numbers(validation), numbers(test), on_front)


CHEAP = setting("cheap", (0.60, 1.0), (0.58, 1.1))
DEAR = setting("dear", (0.75, 3.0), (0.70, 3.2))
LUCKY = setting("lucky", (0.55, 1.5), (0.99, 1.5), on_front=False)


def test_the_recommended_setting_is_the_best_of_those_within_the_budget() -> None:
    assert recommended([CHEAP, DEAR, LUCKY], 2.0) is CHEAP
    assert recommended([CHEAP, DEAR, LUCKY], None) is DEAR
    assert recommended([CHEAP, DEAR], 0.5) is None


def test_a_test_number_never_chooses() -> None:
    assert recommended([CHEAP, LUCKY], 2.0) is CHEAP


def test_the_area_is_that_of_the_front_on_both_kinds_of_prompts() -> None:
    # Corner (0.5, 4): 0.10 from 1 to 3, then 0.25 from 3 to 4; on test prompts 0.08 from 1.1 to 3.2, then 0.2 to 4.
    area = front_area([CHEAP, DEAR, LUCKY], 4.0)
    assert area["validation"] == pytest.approx(0.10 * 2 + 0.25 * 1)
    assert area["test"] == pytest.approx(0.08 * 2.1 + 0.2 * 0.8)


def test_without_a_budget_the_corner_is_the_largest_kl() -> None:
    assert front_area([CHEAP, DEAR], None)["worst_kl"] == 3.0
    assert front_area([], None)["validation"] == 0.0


def test_every_trial_within_the_budget_is_worth_more_than_any_beyond() -> None:
    assert trial_score(0.6, 1.0, 2.0) == 0.6
    assert trial_score(0.9, 2.5, 2.0) == -0.5
    assert trial_score(0.9, 2.1, 2.0) > trial_score(0.9, 5.0, 2.0)
    assert trial_score(0.9, 50.0, None) == 0.9


SEEDS: dict[str, Any] = {
    "kl.coefficient": {"kind": "values", "values": [0.1, 0.2, 0.4]},
    "seed": {"kind": "values", "values": [0, 1]},
}


def finished(win_rate: float) -> tuple[str, dict[str, Any]]:
    estimate = {"value": win_rate, "low": win_rate - 0.1, "high": win_rate + 0.1}
    kl = {"value": 1.0, "low": 0.9, "high": 1.1}
    validation = {"win_rate": win_rate, "kl_k1_mean": 1.0}
    return RESULT, {
        "steps": 6,
        "seconds": 1.0,
        "stopped": None,
        "validation": validation,
        "test": {"win_rate": estimate, "kl": kl},
    }


PRUNED_AT_2 = (PRUNED, {"step": 2, "win_rate": 0.4, "kl": 0.5})
FAILED_SO = (FAILED, {"reason": "the loss is not finite", "permanent": True, "session": "one"})


def ended(folder: Path, *ends: tuple[str, dict[str, Any]]) -> Space:
    """A sweep of three settings with two seeds each whose first trials have ended so; the rest never started."""
    space = space_of(tiny_sweep(folder, space=SEEDS), tiny_base(folder))
    for choice, (name, content) in zip(space.grid(), ends, strict=False):
        entry = point_entry(space.point(choice))
        trial = folder / "sweeps" / "tiny" / TRIALS / entry["name"]
        trial.mkdir(parents=True)
        write_json(trial / POINT, entry)
        write_json(trial / name, {**entry, **content})
    return space


def test_a_setting_whose_weak_seed_was_ended_or_failed_does_not_count(tmp_path: Path) -> None:
    # 0.1: 0.55 and 0.65. The lucky seeds of 0.2 and 0.4 look better than both.
    ends = (finished(0.55), finished(0.65), finished(0.9), PRUNED_AT_2, FAILED_SO, finished(0.95))
    space = ended(tmp_path, *ends)
    trials = trial_table(tmp_path / "sweeps" / "tiny", space)
    [counted] = settings_of(trials, space)
    assert (counted.name, counted.seeds, counted.on_front) == ("gamma 0.1", 2, True)
    assert counted.validation["win_rate"].value == pytest.approx(0.6)
    assert recommended([counted], None) is counted
    assert sorted(left_out(trials, space), key=lambda entry: entry.setting) == [
        LeftOut("gamma 0.2", 1, 2, "seed 1: ended early at step 2"),
        LeftOut("gamma 0.4", 1, 2, "seed 0: the loss is not finite"),
    ]
    assert sorted(trial["status"] for trial in trials) == [
        "failed",
        "finished",
        "finished",
        "finished",
        "finished",
        "pruned",
    ]


def test_a_seed_that_never_started_is_missing_too(tmp_path: Path) -> None:
    space = ended(tmp_path, finished(0.55))
    trials = trial_table(tmp_path / "sweeps" / "tiny", space)
    assert settings_of(trials, space) == []
    assert left_out(trials, space) == [LeftOut("gamma 0.1", 1, 2, "1 seed never started")]


def test_table_and_page_show_what_was_left_out_and_say_what_to_do(tmp_path: Path) -> None:
    space = ended(tmp_path, finished(0.9), PRUNED_AT_2, PRUNED_AT_2, PRUNED_AT_2, FAILED_SO, PRUNED_AT_2)
    sweep = tiny_sweep(tmp_path, space=SEEDS)
    summary = write_results(sweep, tiny_base(tmp_path), space)
    assert summary["recommended"] is None
    shown = final_table(summary)
    assert "gamma 0.1 is left out, with 1 of 2 seeds: seed 1: ended early at step 2" in shown
    assert "no setting has finished with all its seeds; continue with --resume, and run" in shown
    assert "early_stopping.kind none" in shown
    page = (sweep.folder / "report.html").read_text()
    assert all(
        words in page for words in ("1 of 2 seeds", "0 of 2 seeds", "no setting has finished with all its seeds")
    )


def test_the_command_for_the_recommended_setting_trains_what_its_trial_trained(tmp_path: Path) -> None:
    # Neither the sweep's overrides nor its base stand in the run file that the sweep names.
    space = ended(tmp_path, finished(0.55), finished(0.65))
    sweep, base = tiny_sweep(tmp_path, space=SEEDS), tiny_base(tmp_path)
    folder = trial_folders(sweep.folder)[0]
    point = space.point(next(space.grid()))
    config = point_config(point, base, source="tiny.yaml").model_copy(
        update={"name": point.name, "output_dir": folder.parent, "base": base.base_folder}
    )
    save_config(config, folder / "config.yaml")
    summary = write_results(sweep, base, space)
    command = summary["recommended"]["command"]
    assert command in final_table(summary)
    allgood, align, path, *overrides = shlex.split(command)
    again = load_config(Path(path), overrides)
    assert (allgood, align, again.folder) == ("allgood", "align", sweep.output_dir / "tiny_chosen")
    assert again == config.model_copy(update={"name": "tiny_chosen", "output_dir": sweep.output_dir})


def test_a_budget_that_no_setting_keeps_is_told_apart_from_unfinished_seeds(tmp_path: Path) -> None:
    space = ended(tmp_path, finished(0.55), finished(0.65))
    sweep = tiny_sweep(tmp_path, space=SEEDS, kl_budget=0.5)
    shown = final_table(write_results(sweep, tiny_base(tmp_path), space))
    assert "none is recommended: no setting spends at most 0.5 nats on validation prompts" in shown
