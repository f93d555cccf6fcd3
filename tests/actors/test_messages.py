"""The examples of the messages are true, and every message has one."""

from __future__ import annotations

import dataclasses
import doctest

import pytest

from actors import messages

MESSAGES = [
    value
    for value in vars(messages).values()
    if dataclasses.is_dataclass(value) and value.__module__ == messages.__name__
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.__name__)
def test_every_message_has_an_example_that_is_true(message: type) -> None:
    examples = doctest.DocTestFinder(recurse=False).find(message, message.__name__, globs=vars(messages).copy())
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    for example in examples:
        runner.run(example)
    assert runner.summarize(verbose=False).attempted > 0
    assert runner.failures == 0
