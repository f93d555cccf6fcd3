"""The reference pages come from the docstrings, and say when one is missing."""

from __future__ import annotations

import ast

import pytest

from docs.docstrings import as_markdown, summary
from docs.generate_api import Module, names_without_docstring, page

SOURCE = '''"""Halves. Used by nobody."""

__all__ = ["Half", "half", "third"]

def half(number: float, digits: int = 2, *, up: bool = False) -> float:
    """Half of a number.

    Args:
        number: Any, but
            finite.
        digits: To round to.

    Raises:
        ValueError: Not finite.

    >>> half(1.0)
    0.5
    """

@dataclass(frozen=True)
class Half:
    """A half."""

    value: float = 0.5

    @property
    def doubled(self) -> float:
        """One."""

def _private():
    pass
'''


def module(source: str) -> Module:
    return Module("allgood.halves", ast.parse(source))


def test_a_page_shows_signatures_sections_and_examples() -> None:
    other = Module("allgood.thirds", ast.parse('"""Thirds."""\ndef third():\n    """A third."""\n'))
    text = "\n".join(page(module(SOURCE), [module(SOURCE), other]))
    assert "# `allgood.halves`" in text
    assert "half(number: float, digits: int = 2, *, up: bool = False) -> float" in text
    assert "* `number`: Any, but finite.\n* `digits`: To round to." in text
    assert "**Raises**\n\n* `ValueError`: Not finite." in text
    assert "```python\n>>> half(1.0)\n0.5\n```" in text
    assert "Frozen dataclass:\n\n```python\nHalf(value: float = 0.5)" in text
    assert "### `Half.doubled`\n\nProperty, `float`." in text
    assert "Also importable from here: [`third`](thirds.md#third)." in text
    assert "_private" not in text


@pytest.mark.parametrize(
    ("removed", "name"),
    [
        ('"""Halves. Used by nobody."""', "allgood.halves"),
        ('"""A half."""', "allgood.halves.Half"),
        ('"""One."""', "allgood.halves.Half.doubled"),
    ],
)
def test_a_missing_docstring_is_named(removed: str, name: str) -> None:
    assert list(names_without_docstring(module(SOURCE))) == []
    assert list(names_without_docstring(module(SOURCE.replace(removed, "...")))) == [name]


def test_a_docstring_becomes_markdown() -> None:
    assert summary("One\nline.\n\nMore.") == "One line."
    assert as_markdown("Sum.\n\nReturns:\n    A number,\n    in nats.") == "Sum.\n\n**Returns**: A number, in nats."
