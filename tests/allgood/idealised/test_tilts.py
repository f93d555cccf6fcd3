"""Optima of the map against closed forms and against plain sampling."""

import numpy as np
import pytest
import torch
from scipy.special import ndtr, ndtri

from allgood import aggregation
from allgood.idealised.cells import BARS, MAIN_BAR, TARGET_KLS, Cell, Errors
from allgood.idealised.matching import at_kl_per_prompt, at_mean_kl
from allgood.idealised.objectives import (
    CAPPED,
    LOGIT,
    LSC,
    MINIMUM,
    NO_CAP,
    PAR,
    RAW,
    WEIGHT_RATIOS,
    WEIGHTED,
    Z_SCORE,
    World,
)
from allgood.idealised.prompts import Prompts, prompts_of
from allgood.idealised.sampling import sampled
from allgood.idealised.tilts import Optimum
from allgood.tilting import tilt

Q85 = BARS.index(MAIN_BAR)


def optimum(cell: Cell, objective: str, kl: float, parameter: float | None = None) -> Optimum:
    family = World(cell, prompts_of(cell)).family(objective, parameter)
    return family.at(at_mean_kl(family, [kl])[0])


@pytest.mark.parametrize("kl", TARGET_KLS)
def test_a_raw_sum_of_normal_rewards_moves_every_property_by_the_root_of_its_share_of_the_kl(kl: float) -> None:
    # A shift by d costs d^2 / 2 nats; three properties share kl alike, so d = sqrt(2 kl / 3).
    shift = np.sqrt(2 * kl / 3)
    found = optimum(Cell(properties=3), RAW, kl)
    np.testing.assert_allclose(found.all_good[0], ndtr(shift - ndtri(BARS)) ** 3, atol=3e-4)
    np.testing.assert_allclose(found.gold_win[0], ndtr(shift / np.sqrt(2)), atol=3e-4)


def test_different_spreads_share_the_kl_by_their_squares() -> None:
    # Spreads 3 and 0.75 (ratio 4 around 1.5): shares 16/17 and 1/17 of 2 nats, so shifts sqrt(64/17) and sqrt(4/17).
    shifts = np.sqrt([4 / 17, 64 / 17])
    found = optimum(Cell(ratio=4.0), RAW, 2.0)
    np.testing.assert_allclose(found.gold_win[0], ndtr(shifts / np.sqrt(2)), atol=3e-4)
    np.testing.assert_allclose(found.all_good[0, Q85], ndtr(shifts - ndtri(0.85)).prod(), atol=3e-4)


def test_a_reward_model_with_normal_errors_gains_the_explained_share() -> None:
    # Rewards have variance 1.25 in spreads, gold given the reward mean x / 1.25: a shift d of x moves gold by d / 1.25.
    shift = np.sqrt(2.0) / np.sqrt(1.25)
    found = optimum(Cell(errors=Errors("normal", 0.5)), RAW, 2.0)
    np.testing.assert_allclose(found.all_good[0], ndtr(shift - ndtri(BARS)) ** 2, atol=3e-4)


def test_correlated_properties_gain_together() -> None:
    # The sum of two golds of correlation rho has variance 2 + 2 rho; its tilt shifts both by sqrt(kl (1 + rho)).
    found = optimum(Cell(correlation=0.5), RAW, 1.0)
    np.testing.assert_allclose(found.gold_win[0], ndtr(np.sqrt(1.5) / np.sqrt(2)), atol=3e-4)
    opposed = optimum(Cell(correlation=-0.34), RAW, 1.0)
    np.testing.assert_allclose(opposed.gold_win[0], ndtr(np.sqrt(0.66) / np.sqrt(2)), atol=3e-4)


@pytest.mark.parametrize(
    "cell",
    [
        Cell(errors=Errors("laplace", 0.5)),
        Cell(errors=Errors("overrated", 4, 0.01)),
        Cell(errors=Errors("overrated", 4, 0.1, shared=True), ceiling=0.5),
        Cell(properties=3, correlation=0.3, errors=Errors("normal", 0.5)),
        Cell(ceiling=1.0, reference=0.7),
    ],
)
def test_quadrature_and_sampling_agree_where_samples_suffice(cell: Cell) -> None:
    for found in sampled(cell, [1.0], [16_000]):
        exact = optimum(cell, found.objective, found.kl).all_good[0, Q85]
        assert found.reliable
        assert found.all_good == pytest.approx(exact, abs=4 * found.error + 5e-4)


@pytest.mark.parametrize("objective", [MINIMUM, LOGIT])
@pytest.mark.parametrize("num_properties", [2, 3])
def test_folded_utilities_agree_with_sampling(objective: str, num_properties: int) -> None:
    cell = Cell(properties=num_properties, errors=Errors("overrated", 4, 0.03))
    world = World(cell, prompts_of(cell))
    generator = np.random.default_rng(3)
    gold = generator.standard_normal((num_properties, 40, 16_000))
    errors = (generator.random(gold.shape) < 0.03) * generator.uniform(2, 6, gold.shape)
    margins = torch.from_numpy(1.5 * (gold + errors) - world.references[0, 0])
    named = {str(index): margin for index, margin in enumerate(margins)}
    utilities = (
        aggregation.logit_of_product(named)
        if objective == LOGIT
        else aggregation.minimum({name: torch.nn.functional.logsigmoid(margin) for name, margin in named.items()})
    )
    family = world.family(objective, None)
    inverse_gamma = at_mean_kl(family, [1.0])[0]
    exact, sample = family.at(inverse_gamma), tilt(utilities, 1 / float(inverse_gamma[0]))
    rates = sample.expect(torch.from_numpy((gold > ndtri(0.85)).all(0)).double())
    for found, values in ((1.0, sample.kl), (exact.all_good[0, Q85], rates)):
        assert found == pytest.approx(float(values.mean()), abs=4 * float(values.std()) / 40**0.5)


def test_one_property_leaves_nothing_to_combine() -> None:
    cell = Cell(properties=1, errors=Errors("overrated", 4, 0.01))
    for combined, alone in ((MINIMUM, LSC), (LOGIT, RAW)):
        by_line, direct = optimum(cell, combined, 2.0), optimum(cell, alone, 2.0)
        np.testing.assert_allclose(by_line.all_good, direct.all_good, atol=2e-3)


def test_limits_of_the_objectives() -> None:
    raw = optimum(Cell(), RAW, 2.0).all_good
    np.testing.assert_allclose(optimum(Cell(), CAPPED, 2.0, NO_CAP).all_good, raw)
    np.testing.assert_allclose(optimum(Cell(), WEIGHTED, 2.0, 1.0).all_good, raw)
    np.testing.assert_allclose(optimum(Cell(ratio=4.0), WEIGHTED, 2.0, 4.0).all_good, raw, atol=1e-4)
    np.testing.assert_allclose(optimum(Cell(ratio=4.0, mixed=0.5), Z_SCORE, 2.0).all_good, raw, atol=1e-4)
    # With rewards of almost no spread the log-sigmoid is a straight line; so is the sigmoid.
    for objective in (LSC, PAR):
        np.testing.assert_allclose(optimum(Cell(spread=1e-3), objective, 2.0).all_good, raw, atol=2e-3)


def test_a_shared_factor_without_weight_changes_nothing() -> None:
    shared = Cell(errors=Errors("overrated", 4, 0.0, shared=True), correlation=1e-9)
    for objective in (LSC, LOGIT):
        np.testing.assert_allclose(
            optimum(shared, objective, 1.0).all_good, optimum(Cell(), objective, 1.0).all_good, atol=1e-4
        )


def test_an_absolute_bar_on_prompts_that_are_alike_is_a_quantile() -> None:
    world = World(Cell(absolute_bar=True), Prompts(np.full((3, 2), 1.5), 1))
    np.testing.assert_allclose(world.all_good_before, np.tile((1 - np.array(BARS)) ** 2, (3, 1)), atol=1e-3)


def test_equal_kl_per_prompt_is_equal_and_a_mean_is_a_mean() -> None:
    cell = Cell(between_prompts=0.7)
    for objective in (RAW, LSC):
        family = World(cell, prompts_of(cell)).family(objective, None)
        for target, each, mean in zip(
            TARGET_KLS, at_kl_per_prompt(family, TARGET_KLS), at_mean_kl(family, TARGET_KLS), strict=True
        ):
            np.testing.assert_allclose(family.at(each).kl, target, rtol=4e-4)
            assert family.at(mean).kl.mean() == pytest.approx(target, rel=4e-4)
            assert np.ptp(mean) == 0


def test_a_capped_sum_ends_at_the_share_of_responses_over_its_cap() -> None:
    found = optimum(Cell(), CAPPED, 8.0, 0.9)
    assert found.kl[0] == pytest.approx(-2 * np.log(0.1), abs=0.05)
    assert found.all_good[0, Q85] == pytest.approx(1.0, abs=1e-6)


def test_impossible_worlds_are_refused() -> None:
    with pytest.raises(ValueError, match="3 properties"):
        Cell(properties=3, correlation=-0.3)
    with pytest.raises(ValueError, match="absolute bar"):
        Cell(absolute_bar=True, ceiling=1.0)
    with pytest.raises(ValueError, match="sampled"):
        World(Cell(errors=Errors("student", 0.5)), Prompts(np.full((1, 2), 1.5), 1)).family(RAW, None)


def test_properties_that_differ_by_chance_alone_are_weighted_alike() -> None:
    cell = Cell(mixed=0.7, errors=Errors("overrated", 4, 0.01))
    rates = {ratio: optimum(cell, WEIGHTED, 2.0, ratio).all_good[:, Q85].mean() for ratio in WEIGHT_RATIOS}
    assert max(rates, key=lambda ratio: rates[ratio]) == 1.0


def test_strongly_opposed_properties_are_solved() -> None:
    # Their sum has variance 2 - 1.2: both gain sqrt(kl (1 - 0.6)), as above.
    found = optimum(Cell(correlation=-0.6), RAW, 2.0)
    np.testing.assert_allclose(found.gold_win[0], ndtr(np.sqrt(0.8) / np.sqrt(2)), atol=3e-4)
