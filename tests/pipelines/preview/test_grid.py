"""The grid: what is in it, what is left out or refused, and that a setting can be given back as overrides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from allgood.errors import ConfigError
from pipelines.alignment.checkpoints import config_hash
from pipelines.config.loading import load_config, save_config
from pipelines.config.run import RunConfig
from pipelines.preview.grid import grid_of
from pipelines.preview.names import overrides_of
from tests.pipelines.tiny_run import tiny_config

MEAN, HALF = {"kind": "mean"}, {"kind": "quantile", "quantile": 0.5}


def config(folder: Path, **preview: Any) -> RunConfig:
    return tiny_config(folder, preview=preview)


def test_every_combination_that_means_something_stands_once_and_the_own_setting_first(tmp_path: Path) -> None:
    grid = grid_of(
        config(
            tmp_path,
            transforms=[{"kind": "identity"}, {"kind": "log_sigmoid"}],
            references={"short": [MEAN], "vowels": [MEAN, HALF]},
            objectives=[{"kind": "formula"}, {"kind": "weighted_sum"}],
        )
    )
    # references: own and mean for short (2), own, mean and q50 for vowels (3)
    assert len(grid.settings) == 1 + 6 + 12  # own; the formula under log_sigmoid alone; the sum under both transforms
    assert grid.settings[0].is_own
    assert not any(setting.is_own for setting in grid.settings[1:])
    assert sum(grid.left_out.values()) == 6
    assert "needs log P(good)" in next(iter(grid.left_out))
    words = {(s.objective, s.transform, *s.references.values()) for s in grid.settings[1:]}
    assert len(words) == 18
    assert ("short + vowels", "identity", "q85", "q50") in words


def test_the_default_grid_has_hundreds_of_settings_with_single_properties_and_unequal_weights(tmp_path: Path) -> None:
    grid = grid_of(config(tmp_path))
    assert len(grid.settings) > 400
    objectives = {setting.objective for setting in grid.settings}
    assert {"short & vowels", "short", "vowels", "0.25 short + vowels", "4 short + vowels"} <= objectives


def test_a_setting_given_back_as_overrides_is_that_setting(tmp_path: Path) -> None:
    base = config(tmp_path)
    save_config(base, tmp_path / "run.yaml")
    settings = grid_of(base).settings
    for setting in (settings[0], settings[1], settings[len(settings) // 2], settings[-1]):
        loaded = load_config(tmp_path / "run.yaml", overrides_of(setting.config, base, 0.25))
        assert loaded.properties == setting.config.properties
        assert loaded.objective == setting.config.objective
        assert loaded.kl.coefficient == 0.25


def test_the_own_setting_needs_no_overrides(tmp_path: Path) -> None:
    base = config(tmp_path)
    assert overrides_of(grid_of(base).settings[0].config, base, None) == []


def test_a_classifier_keeps_its_own_transform_beside_the_others_of_the_grid(tmp_path: Path) -> None:
    properties = config(tmp_path).model_dump(mode="json")["properties"]
    safe = {"kind": "classifier", "model": "anywhere"}
    found = tiny_config(
        tmp_path,
        properties={"short": properties["short"], "safe": safe},
        preview={
            "transforms": [{"kind": "log_sigmoid"}],
            "references": {"short": []},
            "objectives": [{"kind": "formula"}],
        },
    )
    (_, setting) = grid_of(found).settings
    assert setting.transform == "short log_sigmoid, safe log_prob"


@pytest.mark.parametrize(
    ("preview", "words"),
    [
        ({"references": {"shrt": [MEAN]}}, r"preview\.references names 'shrt', which is not a property.*short, vowels"),
        (
            {"objectives": [{"kind": "formula", "expression": "short & tall"}]},
            "preview.objectives: no combination fits.*tall",
        ),
        (
            {"transforms": [{"kind": "identity"}], "objectives": [{"kind": "formula"}]},
            "no combination fits.*needs log P.good.",
        ),
        ({"target_kls": [0.5, -1.0]}, "target_kls holds -1.0, but every entry must be above 0"),
        ({"target_kls": []}, "give target_kls or coefficients"),
        ({"best_of_k": [0]}, "k starts at 1"),
    ],
)
def test_a_grid_that_cannot_be_meant_is_refused_in_one_sentence(
    preview: dict[str, Any], words: str, tmp_path: Path
) -> None:
    with pytest.raises((ConfigError, ValueError), match=words):
        grid_of(config(tmp_path, **preview))


def test_another_grid_does_not_make_another_run(tmp_path: Path) -> None:
    assert config_hash(config(tmp_path)) == config_hash(config(tmp_path, target_kls=[0.1]))


def test_an_objective_without_a_utility_cannot_be_predicted_and_is_counted(tmp_path: Path) -> None:
    gdpo = {"kind": "normalise_then_sum"}
    raw = {"transform": {"kind": "identity"}, "reference": {"kind": "none"}}
    properties = tiny_config(tmp_path).model_dump(mode="json")["properties"]
    found = tiny_config(tmp_path, objective=gdpo, properties={name: p | raw for name, p in properties.items()})
    assert not any(setting.is_own for setting in grid_of(found).settings)
    listed = found.model_copy(update={"preview": config(tmp_path, objectives=[gdpo]).preview})
    with pytest.raises(ConfigError, match="no utility to tilt by"):
        grid_of(listed)
