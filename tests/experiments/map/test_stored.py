"""What is stored is what was computed, and the stored map is complete and says what its page says."""

from pathlib import Path

import numpy as np
import pytest

from allgood.errors import DataError
from allgood.idealised.cells import Cell, Errors
from experiments.map.groups import groups
from experiments.map.results import MEAN, cell_of, cell_result
from experiments.map.rules import check
from experiments.map.rules_of_thumb import RULES
from experiments.map.stored import group_path, is_done, load_map, load_sampled, write_group

STORED = Path(__file__).parents[3] / "docs/results/data/map"
CELLS = (Cell(), Cell(errors=Errors("overrated", 4, 0.01)), Cell(ceiling=0.5))


def test_a_group_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = group_path(tmp_path, "some")
    assert not is_done(path, CELLS[:1])
    write_group(path, [cell_result(CELLS[0])])
    assert is_done(path, CELLS[:1])
    assert not is_done(path, CELLS[:2])


def test_a_map_that_lacks_a_group_says_which(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="lacks worlds, first_estimates"):
        load_map(tmp_path)
    assert load_sampled(tmp_path) == []


@pytest.mark.parametrize("cell", CELLS)
def test_stored_cells_are_what_is_computed_today(cell: Cell) -> None:
    stored, today = (found["objectives"] for found in (load_map(STORED).results[cell], cell_result(cell)))
    for objective, by_matching in today.items():
        for name, numbers in by_matching[MEAN].items():
            if name != "parameter":
                np.testing.assert_allclose(numbers, stored[objective][MEAN][name], atol=2e-4)


def test_every_cell_of_a_group_is_its_own() -> None:
    for group in groups():
        assert len(set(group.cells)) == len(group.cells)
    assert all(cell_of(cell_result(cell)) == cell for cell in CELLS[:1])


def test_rules_that_the_page_states_hold_in_the_stored_numbers() -> None:
    stored = load_map(STORED)
    against = [rule.text for rule in RULES if not check(rule, stored).holds]
    assert against == []
