"""Efficiency of a run on cached samples: measured in one utility, or left out with the reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipelines.config.run import RunConfig
from pipelines.evaluation.efficiency import Efficiency, efficiency, sft_utilities
from tests.pipelines.tiny_references import write_references
from tests.pipelines.tiny_run import make_base, tiny_config


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    config = make_base(tmp_path_factory.mktemp("efficiency"))
    write_references(config)
    return config


def with_objective(config: RunConfig, **objective: Any) -> RunConfig:
    """The run on raw rewards, which every objective takes but the formula."""
    properties = {
        name: setting | {"transform": {"kind": "identity"}}
        for name, setting in config.model_dump()["properties"].items()
    }
    return tiny_config(config.base_folder.parent, properties=properties, objective=objective)


def validation(mean: float) -> dict[str, float]:
    return {"utility.mean": mean, "kl_k1_mean": 0.5}


def test_a_run_without_gain_has_efficiency_0(config: RunConfig) -> None:
    raw_sum = with_objective(config, kind="weighted_sum")
    found = efficiency(raw_sum, validation(float(sft_utilities(raw_sum).mean())))
    assert isinstance(found, Efficiency)
    assert found.value == pytest.approx(0.0, abs=1e-9)
    assert (found.num_prompts, found.num_samples) == (3, 8)


@pytest.mark.parametrize(
    ("objective", "reason"),
    [
        ({"kind": "lagrangian", "maximise": "short", "thresholds": {"vowels": 0.5}}, "learns its multipliers"),
        ({"kind": "normalise_then_sum"}, "has no utility"),
    ],
)
def test_an_objective_without_one_utility_has_no_efficiency_but_a_reason(
    config: RunConfig, objective: dict[str, Any], reason: str
) -> None:
    found = efficiency(with_objective(config, **objective), validation(1.0))
    assert isinstance(found, str)
    assert reason in found


def test_a_run_that_was_validated_on_more_prompts_than_were_sampled_has_a_reason(config: RunConfig) -> None:
    predicted = {"kind": "predicted", "quantile": 0.85, "prompts": "all", "encoder": "unused"}
    properties = {
        name: setting | {"reference": predicted} for name, setting in config.model_dump()["properties"].items()
    }
    folder, references = config.base_folder.parent, config.references.model_dump() | {"max_prompts": {"validation": 2}}
    everyone = tiny_config(folder, properties=properties, references=references)
    assert "was validated on 3 prompts, of which 2 have cached samples" in str(efficiency(everyone, validation(1.0)))


def test_without_cached_samples_there_is_no_efficiency_but_a_reason(tmp_path: Path) -> None:
    assert "there are no cached samples of the start policy" in str(efficiency(tiny_config(tmp_path), validation(1.0)))
