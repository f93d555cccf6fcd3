import pytest

from experiments.world.open_checks import open_world_numbers
from pipelines.config.open_world import OpenWorldConfig

SMALL = {"num_prompts": 500, "pairs_per_prompt": 4}


@pytest.mark.parametrize(("point", "seed"), [("strong", 0), ("strong", 1), ("weak", 2)])
def test_the_open_world_keeps_its_promises(point: str, seed: int) -> None:
    numbers = open_world_numbers(OpenWorldConfig.model_validate({"point": point, "seed": seed, **SMALL}))
    assert 0.01 <= numbers["writers: all good"] <= 0.05
    assert numbers["scripted best answer all good"] >= 0.95
    assert numbers["its worst property over the bar, spreads"] > 1.5
    assert numbers["best constant response all good"] <= 0.10
    assert numbers["correlation of helpful and harmless within a prompt"] == pytest.approx(-0.34, abs=0.03)
    assert abs(numbers["excess kurtosis"]) < 0.3
    assert abs(numbers["skewness of helpful within a prompt"]) < 0.3
    assert numbers["share of demonstrations with a rare phrase of helpful"] == pytest.approx(0.01, abs=0.008)
    assert numbers["share of answers in its pairs"] == pytest.approx(0.01, abs=0.008)
    assert numbers["2,048 samples show the optimum of the LSC sum of gold up to, nats"] >= 4.0
    assert (numbers["the same, 90 % / 10 % quantile"] > 5.0) == (point == "strong")
    assert (numbers["spread of helpful gold within a prompt, nats"] > 2.0) == (point == "strong")


def test_with_every_mechanism_off_prompts_and_properties_are_alike_and_independent() -> None:
    off = {"prompts_differ": False, "properties_differ": False, "tension": False, "overrating": False}
    numbers = open_world_numbers(OpenWorldConfig.model_validate({**SMALL, **off}))
    assert numbers["the same, 90 % / 10 % quantile"] < 1.5  # 64 answers estimate a spread to a tenth
    assert numbers["larger / smaller spread of helpful and harmless on a prompt, median"] < 1.15
    assert numbers["correlation of helpful and harmless within a prompt"] == pytest.approx(0.0, abs=0.02)
    assert numbers["writers: all good"] == pytest.approx(0.0585, abs=0.012)  # (1 - Phi(0.7)) squared
