"""Rows that travel as one array are the rows that were sent."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, fields

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from actors.messages import Batch, LogProbs, Rollout
from actors.packing import PacksRows

Rows = tuple[NDArray[np.float32], ...]


@dataclass(frozen=True)
class Message(PacksRows):
    """Rows beside what is none."""

    rows: Rows
    words: tuple[str, ...] = ("a", "b")
    single: NDArray[np.int64] | None = None


def rows_of(lengths: list[int]) -> Rows:
    return tuple(np.random.default_rng(length).normal(size=length).astype(np.float32) for length in lengths)


@given(st.lists(st.integers(0, 5), max_size=6))
def test_rows_arrive_as_they_were_sent(lengths: list[int]) -> None:
    sent = Message(rows_of(lengths), single=np.arange(3))
    got = pickle.loads(pickle.dumps(sent, protocol=5))
    assert len(got.rows) == len(sent.rows)
    for row, other in zip(got.rows, sent.rows, strict=True):
        np.testing.assert_array_equal(row, other)
        assert row.dtype == other.dtype
    assert got.words == sent.words
    np.testing.assert_array_equal(got.single, np.arange(3))


@pytest.mark.parametrize("kind", [Rollout, LogProbs, Batch])
def test_messages_with_a_row_per_response_travel_packed(kind: type) -> None:
    names = [field.name for field in fields(kind) if "Row, ..." in str(field.type)]
    assert names
    values = {field.name: rows_of([2, 3]) if field.name in names else 0 for field in fields(kind)}
    buffers: list[pickle.PickleBuffer] = []
    data = pickle.dumps(kind(**values), protocol=5, buffer_callback=buffers.append)
    assert len(buffers) == 2 * len(names)  # all values, and their lengths
    got = pickle.loads(data, buffers=buffers)
    assert all(
        np.array_equal(row, sent) for name in names for row, sent in zip(getattr(got, name), values[name], strict=True)
    )
