"""Search spaces: every point is a run, points has a name of its own, and mistakes are reported before it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from allgood.errors import ConfigError
from allgood.scorers import yaml12
from pipelines.config.loading import changed_config
from pipelines.config.run import RunConfig
from pipelines.config.sweep import SweepConfig
from pipelines.config.sweep_loading import load_sweep
from pipelines.sweep.run import run_sweep
from pipelines.sweep.space import Point, Space, _label, planned, point_config, space_of

QUICKSTART = "configs/quickstart.yaml"
REFERENCES = {"mean": {"kind": "mean"}, "q85": {"kind": "quantile", "quantile": 0.85}}
KL = {"kind": "values", "values": [0.1, 1.0]}
RANGE = {"kind": "log_uniform", "low": 0.01, "high": 1.0}


def load(tmp_path: Path, *overrides: str, **sections: Any) -> tuple[SweepConfig, RunConfig]:
    path = tmp_path / "sweep.yaml"
    path.write_text(yaml12.dump({"name": "tried", "run": QUICKSTART, **sections}))
    return load_sweep(path, overrides)


def points_of(tmp_path: Path, **sections: Any) -> tuple[Space, list[RunConfig], list[Any]]:
    sweep, run = load(tmp_path, **sections)
    space = space_of(sweep, run)
    points = planned(space, sweep)
    assert points is not None
    return space, [point_config(point, run, source="sweep.yaml") for point in points], points


def refused(tmp_path: Path, **sections: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        load_and_check(tmp_path, sections)
    return str(caught.value)


def load_and_check(tmp_path: Path, sections: dict[str, Any]) -> None:
    sweep, run = load(tmp_path, **sections)
    space = space_of(sweep, run)
    for point in planned(space, sweep) or [space.point(choice) for choice in space.corners()]:
        point_config(point, run, source="sweep.yaml")


def test_a_grid_is_every_combination_and_a_star_is_every_property(tmp_path: Path) -> None:
    space = {"properties.*.reference": {"kind": "values", "values": REFERENCES}, "kl.coefficient": KL}
    _, runs, points = points_of(tmp_path, space=space)
    assert [(run.properties["harmless"].reference.kind, run.kl.coefficient) for run in runs] == [
        ("mean", 0.1),
        ("mean", 1.0),
        ("quantile", 0.1),
        ("quantile", 1.0),
    ]
    assert all(run.properties["helpful"].reference == run.properties["harmless"].reference for run in runs)
    assert [point.setting for point in points][:2] == ["reference mean, gamma 0.1", "reference mean, gamma 1"]


def test_arms_set_several_keys_at_once(tmp_path: Path) -> None:
    arms = {
        "raw": {"objective": {"kind": "weighted_sum"}, "properties.*.transform": {"kind": "identity"}},
        "lsc": {"objective": {"kind": "formula"}},
    }
    _, runs, points = points_of(tmp_path, arms=arms, space={"seed": {"kind": "values", "values": [4, 5]}})
    assert [(run.objective.kind, run.seed) for run in runs] == [
        ("weighted_sum", 4),
        ("weighted_sum", 5),
        ("formula", 4),
        ("formula", 5),
    ]
    assert [point.setting for point in points] == ["raw", "raw", "lsc", "lsc"]  # seeds repeat a setting


def test_every_point_has_a_name_of_its_own_that_never_changes(tmp_path: Path) -> None:
    space = {
        "kl.coefficient": {"kind": "values", "values": [0.1, 0.10001]},
        "seed": {"kind": "values", "values": [0, 1]},
    }
    _, _, points = points_of(tmp_path, space={**space, "kl.coefficient": KL})
    names = [point.name for point in points]
    assert len(set(names)) == 4
    assert names == [point.name for point in points_of(tmp_path, space={**space, "kl.coefficient": KL})[2]]
    assert names[0].startswith("0.1_s0-")


def test_axes_that_would_read_the_same_keep_the_name_of_their_property(tmp_path: Path) -> None:
    quantiles = {"kind": "values", "values": [0.5, 0.9]}
    space = {f"properties.{name}.reference.quantile": quantiles for name in ("helpful", "harmless")}
    references = {f"properties.{name}.reference.kind": "quantile" for name in ("helpful", "harmless")}
    _, _, points = points_of(tmp_path, space={**space, "kl.coefficient": KL}, overrides=references)
    assert points[2].setting == "helpful reference quantile 0.5, harmless reference quantile 0.9, gamma 0.1"
    assert len({point.setting for point in points}) == 8


def test_random_draws_repeat_each_setting_with_every_seed(tmp_path: Path) -> None:
    sections = {
        "space": {"kl.coefficient": RANGE, "seed": {"kind": "values", "values": [0, 1, 2]}},
        "search": {"kind": "random", "trials": 5, "seed": 7},
    }
    _, runs, points = points_of(tmp_path, **sections)
    assert len(points) == 15
    assert len({point.setting for point in points}) == 5
    assert all(0.01 <= run.kl.coefficient <= 1.0 for run in runs)
    assert [point.name for point in points] == [point.name for point in points_of(tmp_path, **sections)[2]]


def test_numbers_that_read_the_same_are_the_same_setting_and_stay_in_their_range(tmp_path: Path) -> None:
    sweep, run = load(tmp_path, space={"kl.coefficient": {**RANGE, "high": 0.123449}}, search={"kind": "optuna"})
    space = space_of(sweep, run)
    one, other, end = (space.point({"kl.coefficient": value}) for value in (0.11114, 0.111136, 0.123449))
    assert one == dataclasses.replace(other, choice=one.choice)
    assert (one.changes, one.setting) == ({"kl.coefficient": 0.1111}, "gamma 0.1111")
    assert end.changes == {"kl.coefficient": 0.1234}
    assert space.point({"kl.coefficient": 0.12346}).changes == {"kl.coefficient": 0.123449}  # not 0.1235


@pytest.mark.parametrize("label", ["_x", "g=0.2", "ü", "..", "a b/c"])
def test_a_trial_can_be_continued_whatever_its_label(tmp_path: Path, label: str) -> None:
    sweep, run = load(tmp_path, arms={label: {"kl.coefficient": 0.5}})
    name = space_of(sweep, run).point({"arm": 0}).name
    assert changed_config(run, [f"name={name}"]).name == name


def test_optuna_has_no_plan_but_its_corners_are_runs(tmp_path: Path) -> None:
    sweep, run = load(tmp_path, space={"kl.coefficient": RANGE}, search={"kind": "optuna"})
    space = space_of(sweep, run)
    assert planned(space, sweep) is None
    corners = [point_config(space.point(choice), run, source="").kl.coefficient for choice in space.corners()]
    assert corners == [0.01, pytest.approx(0.374, abs=1e-3), 1.0]


def test_a_range_over_a_key_of_whole_numbers_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    axis = {"align.samples_per_prompt": {"kind": "uniform", "low": 2, "high": 8}}
    sweep, run = load(tmp_path, space=axis, search={"kind": "optuna"})
    points = [space_of(sweep, run).point(choice) for choice in space_of(sweep, run).corners()]
    with pytest.raises(ConfigError, match=r"`align.samples_per_prompt` is 4\.2"):
        [point_config(point, run, source="tiny.yaml") for point in points]


def test_overrides_concern_the_run_and_with_a_prefix_the_sweep(tmp_path: Path) -> None:
    sweep, run = load(
        tmp_path, "align.steps=7", "sweep.retries=0", "sweep.search.kind=random", "sweep.search.trials=3",
        space={"kl.coefficient": RANGE},
    )  # fmt: skip
    assert run.align.steps == 7
    assert sweep.retries == 0
    assert load(tmp_path, "sweep.overrides.align.steps=3", arms={"a": {"seed": 1}})[1].align == (
        load(tmp_path, "align.steps=3", arms={"a": {"seed": 1}})[1].align
    )
    assert sweep.search.model_dump() == {"kind": "random", "trials": 3, "seed": 0}


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"space": {"kl.coeficient": KL}}, ["kl.coeficient", "did you mean `kl.coefficient`?"]),
        ({"space": {"kl_coefficient": KL}}, ["unknown key `kl_coefficient`", "did you mean `kl.coefficient`?"]),
        ({"space": {"properties.*.refrence": KL}}, ["did you mean `properties.*.reference`?"]),
        ({"space": {"sft.loss_on": KL}}, ["`sft.loss_on` cannot be searched", "`overrides`"]),
        ({"space": {"placement.rollout.gpus": KL}}, ["cannot be searched"]),
        ({"arms": {"a": {"name": "x"}}}, ["`name` cannot be searched"]),
        ({"arms": {"a": {"objective.expression": "helpfull"}}}, ["at {'arm': 'a'}", "helpfull"]),
        ({"space": {"kl.coefficient": {"kind": "values", "values": [-1]}}}, ["'kl.coefficient': '-1'", "a number > 0"]),
        ({"space": {"kl.coefficient": {"kind": "values", "values": [1, 1.0]}}}, ["two values read '1'"]),
        ({"space": {"kl.coefficient": RANGE}}, ["is a range", "search.kind random"]),
        ({"space": {"kl.coefficient": {**RANGE, "low": -1}}, "search": {"kind": "optuna"}}, ["above 0"]),
        ({"space": {"kl.coefficient": {**RANGE, "low": 2}}, "search": {"kind": "optuna"}}, ["low must be below high"]),
        ({"space": {"seed": KL}, "search": {"kind": "optuna"}}, ["luckiest seed"]),
        ({}, ["nothing varies"]),
        ({"spac": {"kl.coefficient": KL}}, ["unknown key `spac`", "did you mean `space`?"]),
        ({"space": {"kl.coefficient": KL}, "overrides": {"kl.gamma": 1}}, ["is `kl.coefficient`"]),
        ({"space": {"gamma": KL}}, ["gamma, the KL coefficient, is `kl.coefficient`"]),
        ({"space": {"kl.coefficient": KL}, "overrides": {"align": {"steps": 3}}}, ["whole section", "align.steps: 3"]),
        ({"space": {"kl": KL, "kl.coefficient": KL}}, ["`kl` and `kl.coefficient` both set `kl.coefficient`"]),
        (
            {"space": {"properties.*.reference": KL, "properties.helpful.reference.quantile": KL}},
            ["both set `properties.helpful.reference.quantile`"],
        ),
        ({"arms": {"a": {"kl.coefficient": 1}}, "space": {"kl.coefficient": KL}}, ["`arm` and `kl.coefficient` both"]),
        ({"space": {"kl.coefficient": {"low": 1}}}, ["`space.kl.coefficient` needs a `kind`"]),
        ({"space": {"kl.coefficient": {"kind": "values"}}}, ["`space.kl.coefficient.values` is missing"]),
        ({"space": {"kl.coefficient": KL}, "search": {"kind": "random", "trials": 0}}, ["`search.trials` is 0"]),
        ({"space": {"kl.coefficient": KL}, "kl_budget": True}, ["`kl_budget` is true"]),
        ({"space": {"kl.coefficient": KL}, "policy": {}}, ["is a run file"]),
    ],
)  # fmt: skip
def test_a_wrong_sweep_is_refused_in_words(tmp_path: Path, sections: dict[str, Any], words: list[str]) -> None:
    message = refused(tmp_path, **sections)
    assert all(word in message for word in words), message


def test_a_front_and_early_stopping_exclude_each_other_and_the_refusal_says_why(tmp_path: Path) -> None:
    mode = {"kind": "multi_objective", "early_stopping": {"kind": "asha"}}
    message = refused(tmp_path, space={"kl.coefficient": KL}, mode=mode)
    assert "may still be on the front through its lower KL" in message


def test_a_single_objective_needs_a_budget(tmp_path: Path) -> None:
    message = refused(tmp_path, space={"kl.coefficient": KL}, mode={"kind": "single_objective"})
    assert "needs `kl_budget`" in message


def test_two_points_that_are_the_same_run_are_refused(tmp_path: Path) -> None:
    arms = {"one": {"kl.coefficient": 0.2}, "other": {"kl.coefficient": 0.2}}
    assert "two points of the space are the same run" in refused(tmp_path, arms=arms)


def test_what_is_pointless_or_in_the_way_is_refused_before_anything_starts(tmp_path: Path) -> None:
    asha = {"kind": "single_objective", "early_stopping": {"kind": "asha", "grace_steps": 500}}
    sweep, run = load(
        tmp_path, "align.steps=48", "align.evaluate_every=12", space={"kl.coefficient": KL}, mode=asha, kl_budget=1.0,
        output_dir=str(tmp_path), name="swept",
    )  # fmt: skip
    with pytest.raises(ConfigError, match="grace_steps is 500, and no trial is longer than 48 steps"):
        run_sweep(sweep, run, source_name="sweep.yaml")
    sweep, run = load(tmp_path, space={"kl.coefficient": KL}, output_dir=str(tmp_path), name="swept")
    (tmp_path / "swept").mkdir()
    (tmp_path / "swept" / "config.yaml").touch()
    with pytest.raises(ConfigError, match="swept holds a run"):
        run_sweep(sweep, run, source_name="sweep.yaml")


def test_a_large_number_does_not_read_as_a_small_one_in_the_name_of_its_trial() -> None:
    point = Point({}, {"align.optimizer.learning_rate": _label(1e30)}, {"align.optimizer.learning_rate": 1e30})
    assert point.name.startswith("1e30-")
    small = Point({}, {"align.optimizer.learning_rate": _label(1e-30)}, {"align.optimizer.learning_rate": 1e-30})
    assert small.name.startswith("1e-30-")
