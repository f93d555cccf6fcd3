"""Dataclasses as JSON: every kind of field by hand, what is refused, and the way there and back."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allgood.errors import DataError
from pipelines.output.typed_json import FLAT, as_json, from_json, read_json

T = TypeVar("T")


@dataclass(frozen=True)
class Pair(Generic[T]):
    first: T
    second: T


@dataclass(frozen=True, kw_only=True)
class Inner:
    rate: float | None = None
    count: int | None


@dataclass(frozen=True, kw_only=True)
class Outer:
    name: str
    values: tuple[float, ...]
    by_name: Mapping[str, float]
    pair: Pair[Inner]
    inner: Inner = field(metadata=FLAT)
    extra: Any = None


OUTER = Outer(
    name="a",
    values=(1.0, 2.5),
    by_name={"x": 3.0},
    pair=Pair(Inner(rate=0.5, count=1), Inner(count=2)),
    inner=Inner(rate=0.25, count=None),
)
WRITTEN = {
    "name": "a",
    "values": [1.0, 2.5],
    "by_name": {"x": 3.0},
    "pair": {"first": {"rate": 0.5, "count": 1}, "second": {"count": 2}},  # a None with a default is left out
    "rate": 0.25,  # flat: among the fields of its owner
    "count": None,
}


def test_fields_are_keys_and_flat_ones_stand_among_their_owner() -> None:
    assert as_json(OUTER) == WRITTEN
    assert from_json(Outer, WRITTEN, where="file") == OUTER


def test_numbers_that_are_not_finite_are_null_and_come_back_as_nan() -> None:
    written = as_json(Pair(math.inf, math.nan))
    assert written == {"first": None, "second": None}
    assert all(math.isnan(value) for value in from_json(Pair[float], written, where="file").__dict__.values())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"rates": 1.0}, "^file holds 'rates', which this version of allgood does not know$"),
        ({"name": 1}, "^file: name holds 1, where this version of allgood expects str$"),
        ({"count": True}, "^file: count holds True, where .* expects int$"),
        ({"values": 1.0}, "^file: values holds 1.0, where .* expects tuple"),
        ({"values": [1.0, "b"]}, "^file: values: 1 holds 'b', where .* expects float$"),
        ({"by_name": {"x": "b"}}, "^file: by_name: x holds 'b', where .* expects float$"),
        ({"pair": {"first": {"count": 1}}}, "^file: pair has no 'second', which this version of allgood needs$"),
        ({"pair": []}, r"^file: pair holds \[\], where .* expects Pair$"),
    ],
)
def test_what_it_cannot_read_is_refused_with_its_place(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=words):
        from_json(Outer, WRITTEN | changes, where="file")


def test_a_file_that_was_cut_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "cut.json"
    path.write_text(json.dumps(WRITTEN)[:20])
    with pytest.raises(DataError, match=r"cut\.json holds no JSON: Unterminated"):
        read_json(Outer, path)
    path.write_text(json.dumps(WRITTEN))
    assert read_json(Outer, path) == OUTER


@given(st.builds(Pair, *[st.dictionaries(st.text(), st.floats(allow_nan=False, allow_infinity=False))] * 2))
def test_the_way_there_and_back_changes_nothing(pair: Pair[dict[str, float]]) -> None:
    assert from_json(Pair[dict[str, float]], json.loads(json.dumps(as_json(pair))), where="file") == pair
