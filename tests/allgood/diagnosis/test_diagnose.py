"""Whole diagnoses: what is said where the truth is known, and what is not said where the samples do not support it."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import ndtri

from allgood.diagnosis.arms import OURS, PLAIN, supported_kl
from allgood.diagnosis.calculation import calculated, drawn, population_of
from allgood.diagnosis.contrasts import UNSEEN_ERROR, by_calculation, on_samples
from allgood.diagnosis.coordinates import point_of, statistics_of
from allgood.diagnosis.diagnose import diagnose
from allgood.diagnosis.found import Contrast
from allgood.idealised.cells import BARS, MAIN_BAR, Cell, Errors
from allgood.idealised.matching import at_mean_kl
from allgood.idealised.objectives import World
from allgood.idealised.prompts import prompts_of
from allgood.intervals import Interval
from tests.allgood.diagnosis.synthetic import samples_of


def truth(cell: Cell, kl: float) -> float:
    """LSC sum minus raw sum on the map."""
    world = World(cell, prompts_of(cell))
    rates = []
    for arm in (OURS, PLAIN):
        family = world.family(arm.objective, arm.parameter)
        rates.append(family.at(at_mean_kl(family, [kl])[0]).all_good[:, BARS.index(MAIN_BAR)].mean())
    return float(rates[0] - rates[1])


@pytest.mark.slow
def test_overrating_is_found_and_the_raw_sum_is_said_to_be_behind() -> None:
    found = diagnose(samples_of(150, 24, noise=0.3, rate=0.01, seed=1))
    assert found.coordinates is not None
    assert all(each.judged and each.judged.overrates for each in found.coordinates.properties)
    assert found.what_if == ()
    for kl in (2.0, 4.0):
        contrast = found.contrast(kl, "transform")
        assert contrast is not None
        assert contrast.basis == "calculation"
        assert contrast.verdict == "ahead"


def test_calculation_from_samples_is_the_maps_for_their_world() -> None:
    samples = samples_of(300, 32, noise=0.5, seed=3)
    statistics = statistics_of(samples)
    population = population_of(point_of(statistics), np.zeros(2), [2.0, 2.0])
    rates = calculated(population, (OURS, PLAIN), [1.0, 4.0])
    for place, kl in enumerate((1.0, 4.0)):
        found = float(rates[OURS][place] - rates[PLAIN][place])
        assert found == pytest.approx(truth(Cell(errors=Errors("normal", 0.5)), kl), abs=0.03)


def test_samples_drawn_from_a_calculated_world_have_its_coordinates() -> None:
    point = point_of(statistics_of(samples_of(200, 32, noise=0.5, correlation=0.4, ceiling=0.5, seed=3)))
    population = population_of(point, np.zeros(2), [2.0, 2.0])
    again = point_of(statistics_of(drawn(population, ("helpful", "harmless"), 32, repeats=20)))
    np.testing.assert_allclose(again.spreads, point.spreads, rtol=0.05)
    np.testing.assert_allclose(again.agreement, point.agreement, atol=0.03)
    np.testing.assert_allclose(again.judge_correlations, point.judge_correlations, atol=0.06)
    np.testing.assert_allclose(again.good, point.good, atol=0.02)


def test_what_samples_support_is_answered_by_them() -> None:
    samples = samples_of(80, 256, noise=0.5)
    found = on_samples(samples, 1.0)["transform"]
    assert found.basis == "samples"
    expected = truth(Cell(errors=Errors("normal", 0.5)), 1.0)
    assert found.difference.low - 0.01 <= expected <= found.difference.high + 0.01
    few = samples_of(80, 16)
    assert on_samples(few, 1.0) == {}
    assert supported_kl(few, PLAIN) < 1 <= supported_kl(samples, PLAIN)


def test_t3_errors_have_no_calculated_optimum() -> None:
    found = diagnose(samples_of(200, 16, noise=0.75, heavy=True, seed=2))
    assert found.contrasts == ()
    assert any("Student's t with 3 degrees of freedom" in line for line in found.cannot)


def test_without_a_judge_rewards_are_described_and_nothing_is_called_better() -> None:
    found = diagnose(replace(samples_of(40, 16), scores=None, bars=None))
    assert found.coordinates is not None
    assert found.coordinates.properties[0].judged is None
    assert (found.contrasts, found.what_if, found.all_good) == ((), (), None)
    assert any("Nobody judges" in line for line in found.cannot)


def test_one_property_has_no_aggregation() -> None:
    found = diagnose(samples_of(60, 16, num_properties=1, noise=0.5))
    assert found.coordinates is not None
    assert (found.coordinates.pairs, found.coordinates.mixed, found.coordinates.ratio) == ((), None, None)
    assert found.contrast(1.0, "aggregation") is None
    assert found.contrast(1.0, "transform") is not None
    assert any("one property" in line for line in found.cannot)


@pytest.mark.parametrize(
    ("num_prompts", "num_samples", "words"), [(60, 6, "6 samples per prompt"), (12, 16, "12 of 12")]
)
def test_too_few_samples_or_prompts_give_no_coordinates(num_prompts: int, num_samples: int, words: str) -> None:
    found = diagnose(samples_of(num_prompts, num_samples))
    assert found.coordinates is None
    assert all(each.basis == "samples" for each in found.contrasts)
    assert any(words in line for line in found.cannot)


def test_constant_rewards_are_named_and_not_measured() -> None:
    samples = samples_of(40, 16)
    constant = samples.rewards.copy()
    constant[1] = 3.0
    found = diagnose(replace(samples, rewards=constant))
    assert found.coordinates is None
    assert found.contrasts == ()
    assert any("The reward of harmless is the same" in line for line in found.cannot)


def test_prompts_with_one_reward_are_left_out_of_the_coordinates() -> None:
    samples = samples_of(60, 16, noise=0.5)
    rewards = samples.rewards.copy()
    rewards[0, :10] = 1.0
    found = diagnose(replace(samples, rewards=rewards, scores=None, bars=None))
    assert found.coordinates is not None
    assert any("On 10 of 60 prompts" in line for line in found.cannot)


def test_nan_is_refused() -> None:
    samples = samples_of(4, 8)
    rewards = samples.rewards.copy()
    rewards[0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        replace(samples, rewards=rewards)
    with pytest.raises(ValueError, match="come together"):
        replace(samples, bars=None)


@pytest.mark.parametrize(
    ("value", "half", "verdict"),
    [
        (0.01, 0.03, "hardly"),
        (0.03, 0.02, "a little ahead"),
        (-0.03, 0.02, "a little behind"),
        (0.2, 0.1, "ahead"),
        (-0.2, 0.1, "behind"),
        (0.01, 0.1, "unclear"),
    ],
)
def test_verdicts(value: float, half: float, verdict: str) -> None:
    difference = Interval(value, value - half, value + half, half / 2)
    assert Contrast(1.0, "transform", "raw sum", "samples", difference, 0.5).verdict == verdict


def test_the_place_of_a_reference_is_in_standard_deviations_of_rewards() -> None:
    places = point_of(statistics_of(samples_of(200, 64))).variation.means[2:4]
    np.testing.assert_allclose(places, ndtri(0.85), atol=0.06)


def test_a_reward_that_opposes_its_judge_is_measured_and_nothing_is_calculated() -> None:
    samples = samples_of(40, 16, noise=0.5)
    found = diagnose(replace(samples, rewards=-samples.rewards))
    assert found.coordinates is not None
    judged = found.coordinates.properties[0].judged
    assert judged is not None
    assert judged.agreement.high < 0
    assert judged.l_kurtosis is not None
    assert any("hardly agrees with its judge" in line for line in found.cannot)
    assert all(each.basis == "samples" for each in found.contrasts)


@pytest.mark.slow
def test_where_samples_show_nothing_the_interval_is_as_wide_as_calculation_was_wrong() -> None:
    samples = samples_of(30, 16, noise=0.5)  # 16 samples show up to 2.08 nats
    found = by_calculation(samples, statistics_of(samples), [1.0, 4.0], overrates=[False, False])
    seen, unseen = found[1.0]["transform"], found[4.0]["transform"]
    assert seen.correction is not None
    assert unseen.correction is None
    assert seen.difference.high - seen.difference.low < 2 * UNSEEN_ERROR * seen.all_good
    assert unseen.difference.high - unseen.difference.low > 2 * UNSEEN_ERROR * unseen.all_good
