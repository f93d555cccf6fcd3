"""The objectives of the study are runs that the product takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.open_world.design import CAPPED, LABELS, LSC, RAW, TUNED, Z_SCORE
from experiments.open_world.objectives import NO_CAP, parameters_of, with_parameter
from pipelines.comparison.arms import lsc_sum, raw_sum
from pipelines.config.loading import load_config
from pipelines.config.properties import CappedTransform, DrawsReference, QuantileReference
from pipelines.config.run import RunConfig


@pytest.fixture(scope="module")
def config() -> RunConfig:
    return load_config(Path("configs/open_world.yaml"), [])


@pytest.mark.parametrize("objective", LABELS)
def test_every_objective_with_every_parameter_is_a_run_that_loads(config: RunConfig, objective: str) -> None:
    for parameter in parameters_of(objective):
        found = with_parameter(config, objective, parameter)
        assert RunConfig.model_validate(found.model_dump()) == found


def test_parameters_that_change_nothing_are_the_raw_sum_itself(config: RunConfig) -> None:
    assert with_parameter(config, CAPPED, NO_CAP) == with_parameter(config, RAW, None) == raw_sum(config)
    assert with_parameter(config, TUNED, 1.0) == raw_sum(config, weights={"helpful": 1.0, "harmless": 1.0})
    assert with_parameter(config, LSC, None) == lsc_sum(config)


def test_weights_of_a_ratio_are_centred_on_one(config: RunConfig) -> None:
    found = with_parameter(config, TUNED, 4.0)
    assert found == raw_sum(config, weights={"helpful": 2.0, "harmless": 0.5})


def test_a_cap_is_a_quantile_on_the_prompt_and_a_z_score_takes_all_samples(config: RunConfig) -> None:
    capped = with_parameter(config, CAPPED, 0.9).properties["helpful"]
    assert capped.transform == CappedTransform()
    assert capped.reference == QuantileReference(quantile=0.9, method="empirical")
    z_score = with_parameter(config, Z_SCORE, None).properties["harmless"]
    assert z_score.reference == DrawsReference(num=config.references.num_samples)
