"""The spreads of a cell's prompts."""

import numpy as np
import pytest

from allgood.idealised.cells import Cell
from allgood.idealised.prompts import VALIDATION_SEED, prompts_of


def test_prompts_that_are_alike_are_one() -> None:
    np.testing.assert_allclose(prompts_of(Cell(properties=3, ratio=4.0)).spreads, [[0.75, 1.5, 3.0]])
    assert prompts_of(Cell()).num_replicates == 1


@pytest.mark.parametrize("cell", [Cell(between_prompts=0.7), Cell(mixed=0.7), Cell(between_prompts=0.5, mixed=0.5)])
def test_spreads_are_log_normal_around_the_median_and_end_at_the_cut(cell: Cell) -> None:
    logs = np.log(prompts_of(cell).spreads / cell.spread)
    sigma = np.hypot(cell.between_prompts, cell.mixed)
    assert abs(logs).max() <= 2 * (cell.between_prompts + cell.mixed)
    np.testing.assert_allclose(logs.mean(), 0, atol=0.02)
    np.testing.assert_allclose(logs.std(), 0.880 * sigma, rtol=0.03)  # of a standard normal cut at 2: 0.880
    correlation = cell.between_prompts**2 / sigma**2
    np.testing.assert_allclose(np.corrcoef(logs.T)[0, 1], correlation, atol=0.06)


def test_validation_prompts_are_others_of_the_same_population() -> None:
    cell = Cell(mixed=0.7)
    test, validation = prompts_of(cell), prompts_of(cell, seed=VALIDATION_SEED)
    assert not np.isin(test.spreads, validation.spreads).any()
    np.testing.assert_allclose(np.log(test.spreads).mean(), np.log(validation.spreads).mean(), atol=0.02)
    np.testing.assert_array_equal(test.spreads, prompts_of(cell).spreads)
