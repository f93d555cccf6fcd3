"""Length-sorted batches under a token budget."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allgood.batching import token_budget_batches

lengths = st.lists(st.integers(0, 40), max_size=30)


def test_batches_worked_by_hand():
    # 9 alone (9 <= 10); then 4 and 3 fill 2 * 4 = 8; a third row would make 12
    assert token_budget_batches([3, 9, 4, 2], max_tokens=10) == [[1], [2, 0], [3]]


def test_a_batch_may_fill_the_budget_exactly():
    assert token_budget_batches([5, 5, 5], max_tokens=10) == [[0, 1], [2]]


@given(lengths, st.integers(1, 100))
def test_every_row_is_in_one_batch_and_batches_keep_the_budget(lengths, max_tokens):
    batches = token_budget_batches(lengths, max_tokens=max_tokens)
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(lengths[row] for row in batch) <= max_tokens


@given(lengths, st.integers(1, 100))
def test_no_batch_holds_a_row_longer_than_one_of_an_earlier_batch(lengths, max_tokens):
    order = [row for batch in token_budget_batches(lengths, max_tokens=max_tokens) for row in batch]
    assert [lengths[row] for row in order] == sorted(lengths, reverse=True)


def test_no_rows_make_no_batches():
    assert token_budget_batches([], max_tokens=5) == []


def test_a_budget_below_one_token_is_refused():
    with pytest.raises(ValueError, match="max_tokens must be at least 1, got 0"):
        token_budget_batches([1], max_tokens=0)
