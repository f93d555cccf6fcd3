"""Tables of text and Markdown: by hand, and what holds for any cells."""

from __future__ import annotations

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import tables
from actors.tables import markdown_table, text_table

CELLS = st.text(st.characters(codec="ascii", exclude_categories=["C"]), max_size=5)


def test_columns_are_as_wide_as_their_widest_cell_and_lines_end_without_spaces() -> None:
    assert text_table(["", "KL", "gain"], [["SFT", "0.00", ""], ["raw", "1.2", "+1"]]) == [
        "     KL    gain",
        "---  ----  ----",
        "SFT  0.00",
        "raw  1.2   +1",
    ]


def test_a_table_without_rows_is_its_header() -> None:
    assert text_table(["a", "bb"], []) == ["a  bb", "-  --"]
    assert markdown_table(["a", "bb"], []) == ["| a | bb |", "| --- | --- |"]


@pytest.mark.parametrize("row", [["1"], ["1", "2", "3"]])
def test_a_row_of_another_length_is_refused(row: list[str]) -> None:
    with pytest.raises(ValueError, match="argument"):
        text_table(["a", "b"], [row])
    with pytest.raises(ValueError, match=r"cells, and the header 2: \['a', 'b'\]"):
        markdown_table(["a", "b"], [row])


def test_sides_for_another_number_of_columns_are_refused() -> None:
    with pytest.raises(ValueError, match="3 cells, and the header 2"):
        markdown_table(["a", "b"], [], align="lrr")


@given(st.lists(st.tuples(CELLS, CELLS), max_size=4))
def test_every_line_has_as_many_bars_as_columns_whatever_the_cells_hold(rows: list[tuple[str, str]]) -> None:
    for line in markdown_table(["a", "b"], rows):
        assert line.replace("\\|", "").count("|") == 3


def test_the_examples_are_right() -> None:
    assert doctest.testmod(tables).failed == 0
