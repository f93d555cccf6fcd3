"""The Python in the README and in the pages of the documentation runs, and prints what stands there."""

from __future__ import annotations

import doctest

import pytest

from tests.pages import python_of_pages

BLOCKS = list(python_of_pages())


@pytest.mark.parametrize(("page", "block"), BLOCKS, ids=[page for page, _ in BLOCKS])
def test_the_python_of_a_page_runs(page: str, block: str) -> None:
    if ">>> " not in block:
        exec(compile(block, page, "exec"), {"__name__": page})
        return
    example = doctest.DocTestParser().get_doctest(block, {}, page, page, 0)
    assert doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(example).failed == 0
