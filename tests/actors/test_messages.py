"""The examples of the messages are true."""

from __future__ import annotations

import dataclasses
import doctest

import pytest

from actors import messages

MESSAGES = [
    value for value in vars(messages).values() if dataclasses.is_dataclass(value) and ">>>" in str(value.__doc__)
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.__name__)
def test_an_example_is_true(message: type) -> None:
    examples = doctest.DocTestFinder(recurse=False).find(message, message.__name__, globs=vars(messages).copy())
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    for example in examples:
        runner.run(example)
    assert runner.summarize(verbose=False).attempted > 0
    assert runner.failures == 0
