"""Rows of cells as a table: of plain text for a terminal or a message, and of Markdown for a page."""

from __future__ import annotations

from collections.abc import Sequence

SPACES = ("  ", "  ")
BARS = (" | ", "-+-")


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]], *, between: tuple[str, str] = SPACES) -> list[str]:
    r"""The lines of a table whose columns are padded with spaces; the second line is a rule of dashes.

    `between` stands between two columns: in lines of cells, and in the rule.

    Raises:
        ValueError: A row has another number of cells than the header.

    >>> print("\n".join(text_table(["role", "fits"], [["learner", "yes"]], between=BARS)))
    role    | fits
    --------+-----
    learner | yes
    """
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    cells, rule = between
    first, *others = [
        cells.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in [header, *rows]
    ]
    return [first, rule.join("-" * width for width in widths), *others]


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]], *, align: str = "") -> list[str]:
    """The lines of a Markdown table. `align` has an l (left) or r (right) per column; without it all stand left.

    Raises:
        ValueError: A row, or `align`, has another number of columns than the header.

    >>> markdown_table(["arm", "KL"], [["raw sum", "1.2"]], align="lr")
    ['| arm | KL |', '| --- | ---: |', '| raw sum | 1.2 |']
    """
    rule = [{"l": "---", "r": "---:"}[side] for side in align or "l" * len(header)]
    uneven = [row for row in [rule, *rows] if len(row) != len(header)]
    if uneven:
        raise ValueError(f"{uneven[0]} has {len(uneven[0])} cells, and the header {len(header)}: {list(header)}")
    return [markdown_row(header), markdown_row(rule), *map(markdown_row, rows)]


def markdown_row(cells: Sequence[str]) -> str:
    r"""One line of a Markdown table; bars and line breaks inside cells are escaped.

    >>> markdown_row(["helpful | harmless", ""])
    '| helpful \\| harmless |  |'
    """
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", "<br>") for cell in cells) + " |"
