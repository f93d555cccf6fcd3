"""Prompts outside of the table are counted, and too many of them are an error."""

from __future__ import annotations

import pytest

from allgood.errors import ReferenceTableError
from allgood.scorers.table_share import TableShare


def test_the_share_is_that_of_the_call() -> None:
    share = TableShare(0.0)
    assert share.add(num_found=1, num_asked=4) == 0.25
    assert share.add(num_found=2, num_asked=2) == 1.0
    assert share.add(num_found=0, num_asked=0) is None


def test_the_minimum_holds_over_all_calls_and_lets_one_prompt_through() -> None:
    share = TableShare(0.9)
    assert share.add(num_found=0, num_asked=1) == 0.0
    with pytest.raises(ReferenceTableError, match="2 of 2 prompts are not in the reference table"):
        share.add(num_found=0, num_asked=1)
    later = TableShare(0.9)
    later.add(num_found=28, num_asked=29)
    later.add(num_found=0, num_asked=1)  # 2 of 30 are unknown, 3 may be
    later.add(num_found=0, num_asked=1)  # 3 of 31
    with pytest.raises(ReferenceTableError, match="4 of 32"):
        later.add(num_found=0, num_asked=1)


def test_a_minimum_of_one_lets_nothing_through() -> None:
    share = TableShare(1.0)
    share.add(num_found=5, num_asked=5)
    with pytest.raises(ReferenceTableError, match="1 of 6"):
        share.add(num_found=0, num_asked=1)
