"""A measured population against the cells of the map, which are computed by another way."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import ndtr, ndtri

from allgood.idealised.cells import BARS, MAIN_BAR, Cell, Errors
from allgood.idealised.laws import mean, standard_deviation
from allgood.idealised.matching import at_mean_kl
from allgood.idealised.objectives import CAPPED, LSC, MINIMUM, RAW, Z_SCORE, World
from allgood.idealised.population import MEDIUM, Population, rewards_of
from allgood.idealised.prompts import prompts_of

KLS = [1.0, 4.0]


def plain(num_properties: int = 2) -> Population:
    """The plain world of the map: spread 1.5, bars and references at the 85 % quantile."""
    ones = np.ones((1, num_properties))
    zeros, ends = np.zeros(num_properties), np.full(num_properties, np.inf)
    return Population(1.5 * ones, ndtri(0.85) * ones, ndtri(0.85) * ones, 0.0, zeros, zeros, ends)


def all_good(population: Population, objective: str, parameter: float | None = None) -> np.ndarray:
    family = rewards_of(population).family(objective, parameter)
    return np.array([family.at(inverse).all_good.mean() for inverse in at_mean_kl(family, KLS)])


def of_cell(cell: Cell, objective: str, parameter: float | None = None) -> np.ndarray:
    family = World(cell, prompts_of(cell)).family(objective, parameter)
    return np.array([family.at(inverse).all_good[0, BARS.index(MAIN_BAR)] for inverse in at_mean_kl(family, KLS)])


@pytest.mark.parametrize(
    ("objective", "parameter"), [(RAW, None), (LSC, None), (Z_SCORE, None), (CAPPED, 0.9), (MINIMUM, None)]
)
def test_the_plain_world_is_the_maps(objective: str, parameter: float | None) -> None:
    np.testing.assert_allclose(
        all_good(plain(), objective, parameter), of_cell(Cell(), objective, parameter), atol=3e-3
    )


@pytest.mark.parametrize("correlation", [-0.34, 0.6])
def test_correlated_properties_are_the_maps(correlation: float) -> None:
    population = replace(plain(), correlation=correlation)
    for objective in (RAW, LSC):
        expected = of_cell(Cell(correlation=correlation), objective)
        np.testing.assert_allclose(all_good(population, objective), expected, atol=3e-3)


def test_a_ceiling_is_the_maps() -> None:
    cell = Cell(ceiling=0.5)
    deviation = float(standard_deviation(World(cell, prompts_of(cell))._law(MEDIUM))[0, 0])
    # A cell's spread is that of gold without its end, and its reference a quantile, which the end does not move.
    reference = (ndtri(0.85) - float(mean(World(cell, prompts_of(cell))._law(MEDIUM))[0, 0])) / deviation
    population = replace(
        plain(),
        spreads=1.5 * deviation * np.ones((1, 2)),
        references=np.full((1, 2), reference),
        ceilings=np.full(2, 0.5),
    )
    for objective in (RAW, LSC):
        np.testing.assert_allclose(all_good(population, objective), of_cell(cell, objective), atol=0.01)


def test_noise_and_overrating_are_those_of_a_cell() -> None:
    for errors, changes in (
        (Errors("normal", 0.5), {"noise": np.full(2, 0.5)}),
        (Errors("overrated", 4.0, 0.01), {"rates": np.full(2, 0.01)}),
    ):
        cell = Cell(errors=errors)
        deviation = float(standard_deviation(World(cell, prompts_of(cell))._law(MEDIUM))[0, 0])
        population = replace(plain(), spreads=1.5 * deviation * np.ones((1, 2)), **changes)
        np.testing.assert_allclose(all_good(population, RAW), of_cell(cell, RAW), atol=4e-3)


def test_a_raw_sum_moves_different_bars_alike() -> None:
    # At 4 nats a sum of two equal rewards moves both by 2 standard deviations.
    bars = np.array([[0.5, 2.0]])
    found = all_good(replace(plain(), bars=bars), RAW)[1]
    assert found == pytest.approx(float(ndtr(2.0 - bars).prod()), abs=2e-3)
