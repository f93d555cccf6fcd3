"""A whole sweep on real Ray: trials side by side on shared actors, a broken one among them, results, and a resume."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from actors.cluster.cast import spawn
from allgood.errors import ConfigError, PlacementError
from allgood.scorers import yaml12
from pipelines.alignment.align import run_align
from pipelines.cast.faults import OPS
from pipelines.cast.request import align_request
from pipelines.config.earlier import first_form, first_names
from pipelines.config.loading import load_config
from pipelines.config.run import RunConfig
from pipelines.config.sweep import SweepConfig
from pipelines.output.files import write_json
from pipelines.sweep.plan import stored_choice
from pipelines.sweep.run import only_driver, refuse_occupied, run_sweep
from tests.pipelines.sweep.tiny_sweep import tiny_base, tiny_sweep, unjudged_base
from tests.pipelines.tiny_run import make_base

ARMS = {
    "mean": {"properties.short.reference": {"kind": "mean"}, "kl.coefficient": 0.1},
    "canned": {"properties.short.reference": {"kind": "canned", "replies": ["No."]}, "kl.coefficient": 1.0},
    "broken": {"align.optimizer.learning_rate": 1e30},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sweep")
    make_base(folder)
    return folder


@pytest.fixture(scope="module")
def sweep(folder: Path) -> SweepConfig:
    return tiny_sweep(folder, arms=ARMS, kl_budget=100.0)


@pytest.fixture(scope="module")
def summary(folder: Path, sweep: SweepConfig, ray_cluster: None) -> dict[str, Any]:
    return run_sweep(sweep, tiny_base(folder), source_name="tiny.yaml")


def trial(sweep: SweepConfig, arm: str) -> Path:
    [found] = (sweep.folder / "trials").glob(f"{arm}-*")
    return found


def rows(folder: Path) -> list[dict[str, Any]]:
    logged = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    ignored = ("second", "win_rate", OPS)
    return [{name: v for name, v in row.items() if not any(part in name for part in ignored)} for row in logged]


@pytest.mark.slow
def test_a_broken_trial_is_marked_and_the_others_finish(summary: dict[str, Any], sweep: SweepConfig) -> None:
    assert summary["trials"] == {"finished": 2, "failed": 1}
    [(name, reason)] = summary["failed"].items()
    assert name == trial(sweep, "broken").name
    assert "finite" in reason
    assert "error:" in (trial(sweep, "broken") / "log.txt").read_text()


@pytest.mark.slow
def test_trials_side_by_side_on_shared_actors_are_bitwise_what_they_are_alone(
    summary: dict[str, Any], folder: Path, sweep: SweepConfig
) -> None:
    for arm in ("mean", "canned"):
        path = trial(sweep, arm)
        config = load_config(path / "config.yaml").model_copy(update={"output_dir": folder / "alone"})
        with spawn(align_request(config)) as cast:
            run_align(config, cast)
        assert rows(config.folder) == rows(path)
        ours, alone = (load_file(run / "model" / "model.safetensors") for run in (path, config.folder))
        assert all(torch.equal(value, alone[name]) for name, value in ours.items())


@pytest.mark.slow
def test_the_table_has_a_row_per_trial_with_validation_and_test_numbers(
    summary: dict[str, Any], sweep: SweepConfig
) -> None:
    table = pq.read_table(sweep.folder / "results.parquet").to_pandas().set_index("setting")
    assert set(table.index) == {"mean", "canned", "broken"}
    assert table.loc["broken", "status"] == "failed"
    for arm in ("mean", "canned"):
        assert 0.0 <= table.loc[arm, "validation.win_rate"] <= 1.0
        assert table.loc[arm, "test.win_rate.low"] <= table.loc[arm, "test.win_rate"] <= 1.0
        logged = [json.loads(line) for line in (trial(sweep, arm) / "metrics.jsonl").read_text().splitlines()]
        assert table.loc[arm, "validation.win_rate"] == logged[-1]["validation.win_rate"]
        mean = (logged[-1]["validation.win_rate.short"] + logged[-1]["validation.win_rate.vowels"]) / 2
        assert logged[-1]["validation.win_rate"] == pytest.approx(mean)


@pytest.mark.slow
def test_the_summary_recommends_a_setting_of_the_front(summary: dict[str, Any], sweep: SweepConfig) -> None:
    assert summary["recommended"]["setting"] in [setting["setting"] for setting in summary["front"]]
    assert summary["hypervolume"]["worst_kl"] == 100.0
    assert (sweep.folder / "report.html").stat().st_size > 10_000
    assert {path.name for path in (sweep.folder / "plots").iterdir()} == {"front.png", "predicted.png"}


@pytest.mark.slow
def test_finished_trials_keep_their_model_and_no_checkpoints(summary: dict[str, Any], sweep: SweepConfig) -> None:
    assert (trial(sweep, "mean") / "model" / "model.safetensors").is_file()
    assert not (trial(sweep, "mean") / "checkpoints").exists()


@pytest.mark.slow
def test_a_resumed_sweep_repeats_no_finished_trial(
    summary: dict[str, Any], folder: Path, sweep: SweepConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [trial(sweep, arm) / name for arm in ("mean", "canned") for name in ("result.json", "metrics.jsonl")]
    before = [path.stat().st_mtime_ns for path in files]
    again = run_sweep(sweep, tiny_base(folder), source_name="tiny.yaml", resume=True)
    assert [path.stat().st_mtime_ns for path in files] == before
    assert again == summary


@pytest.mark.slow
def test_a_sweep_is_not_started_twice_or_resumed_as_another(
    summary: dict[str, Any], folder: Path, sweep: SweepConfig
) -> None:
    with pytest.raises(ConfigError, match="--resume"):
        run_sweep(sweep, tiny_base(folder), source_name="tiny.yaml")
    other = sweep.model_copy(update={"arms": {"mean": ARMS["mean"]}})
    with pytest.raises(ConfigError, match="another `arms` of the sweep file"):
        run_sweep(other, tiny_base(folder), source_name="tiny.yaml", resume=True)


def begun(sweep: SweepConfig, base: RunConfig) -> SweepConfig:
    """The sweep, of which one trial was started."""
    with only_driver(sweep, base):
        write_json(sweep.folder / "trials" / "some" / "point.json", {})
    return sweep


def test_a_sweep_that_ends_trials_early_is_not_resumed_with_another_budget(tmp_path: Path) -> None:
    base = tiny_base(tmp_path)
    sections = {"arms": ARMS, "mode": {"kind": "single_objective"}}
    begun(tiny_sweep(tmp_path, **sections, kl_budget=1.0), base)
    with pytest.raises(ConfigError, match="within 1 nats"):
        run_sweep(tiny_sweep(tmp_path, **sections, kl_budget=2.0), base, source_name="tiny.yaml", resume=True)


def test_a_sweep_that_was_refused_before_its_first_trial_may_start_again_otherwise(tmp_path: Path) -> None:
    sweep, base = tiny_sweep(tmp_path, arms=ARMS), tiny_base(tmp_path)
    with only_driver(sweep, base):
        pass
    refuse_occupied(sweep, base.model_copy(update={"name": "another"}), resume=False)
    with pytest.raises(ConfigError, match="continue it with --resume"):
        refuse_occupied(begun(sweep, base), base, resume=False)


def test_values_in_another_order_are_another_sweep(tmp_path: Path) -> None:
    base = tiny_base(tmp_path)
    sweep = begun(tiny_sweep(tmp_path, arms=ARMS), base)
    refuse_occupied(sweep, base, resume=True)
    turned = sweep.model_copy(update={"arms": dict(reversed(sweep.arms.items()))})
    with pytest.raises(ConfigError, match="another `arms` of the sweep file"):
        refuse_occupied(turned, base, resume=True)


def test_a_sweep_that_the_first_version_began_goes_on_under_the_new_names(tmp_path: Path) -> None:
    base = tiny_base(tmp_path)
    axis = {"kind": "values", "values": [0.0, 0.5]}
    sweep = begun(tiny_sweep(tmp_path, space={"missing_eos_penalty": axis}), base)
    path = sweep.folder / "sweep.yaml"
    content = yaml12.parse(path.read_text(), source=str(path))
    content["sweep"]["space"] = first_names(content["sweep"]["space"])
    content["run"] = first_form(base)
    assert "align.missing_eos_penalty" in content["sweep"]["space"]
    path.write_text(yaml12.dump(content))
    refuse_occupied(sweep, base, resume=True)
    assert stored_choice({"choice": {"align.missing_eos_penalty": 1}}) == {"missing_eos_penalty": 1}
    with pytest.raises(ConfigError, match="another `seed` of the run file"):
        refuse_occupied(sweep, base.model_copy(update={"seed": 99}), resume=True)


def test_a_trial_that_the_cluster_can_never_hold_is_refused_with_a_table(folder: Path, ray_cluster: None) -> None:
    placement = tiny_base(folder).placement
    huge = placement.model_copy(update={"learner": replace(placement.learner, gpus=8.0)})
    base = tiny_base(folder).model_copy(update={"placement": huge})
    with pytest.raises(PlacementError, match=r"learner +\| 1 x 0.1 CPU \+ 8 GPU"):
        run_sweep(tiny_sweep(folder, "huge", arms=ARMS), base, source_name="tiny.yaml")


@pytest.mark.slow
def test_a_sweep_without_a_judge_shows_training_rewards_and_kl(folder: Path, ray_cluster: None) -> None:
    base = unjudged_base(folder)
    base = base.model_copy(update={"align": base.align.model_copy(update={"steps": 2})})
    sweep = tiny_sweep(folder, "unjudged", arms={"mean": ARMS["mean"]})
    found = run_sweep(sweep, base, source_name="tiny.yaml")
    assert (found["judge"], found["trials"]) == ("nobody", {"finished": 1})
    [setting] = found["settings"]
    names = ["kl", "reward.short", "reward.vowels"]
    assert sorted(setting["test"]) == sorted(found["start_policy"]) == names
    assert setting["test"]["reward.short"]["value"] != found["start_policy"]["reward.short"]["value"]
    assert (setting["test"]["kl"]["value"] > 0.0, found["start_policy"]["kl"]["value"]) == (True, pytest.approx(0.0))
    row = pq.read_table(sweep.folder / "results.parquet").to_pylist()[0]
    assert not [name for name in row if "win_rate" in name]


def test_early_stopping_without_evaluations_before_the_end_is_refused(folder: Path) -> None:
    base = tiny_base(folder)
    base = base.model_copy(update={"align": base.align.model_copy(update={"evaluate_every": 6})})
    late = tiny_sweep(folder, "late", arms={"mean": ARMS["mean"]}, kl_budget=1.0, mode={"kind": "single_objective"})
    with pytest.raises(ConfigError, match="align.evaluate_every is 6 of 6 steps"):
        run_sweep(late, base, source_name="tiny.yaml")
