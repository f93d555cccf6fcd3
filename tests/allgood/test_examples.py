"""The examples in the docstrings, which the reference pages show, are true."""

import doctest
import importlib
from pathlib import Path

import pytest

import allgood

FOLDER = Path(allgood.__file__).parent
WITH_EXAMPLES = sorted(
    path.stem for path in FOLDER.glob("*.py") if ">>> " in path.read_text(encoding="utf-8") and path.stem != "__init__"
)


@pytest.mark.parametrize("module", WITH_EXAMPLES)
def test_examples(module):
    found = doctest.testmod(importlib.import_module(f"allgood.{module}"), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert found.attempted > 0
    assert found.failed == 0


def test_most_modules_of_the_mathematics_have_an_example():
    assert len(WITH_EXAMPLES) >= 10
