"""One array in place of many when a message travels.

Ray sends every array of a message as a buffer of its own, which costs some 10 microseconds on either side. A chunk of
64 responses has 200 of them, so its rows are sent end to end, with their lengths, and cut apart again on arrival.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Packed:
    """Rows end to end."""

    values: NDArray[Any]
    lengths: NDArray[np.int64]  # [rows]

    @staticmethod
    def of(rows: Sequence[NDArray[Any]]) -> Packed:
        """These rows."""
        return Packed(
            np.concatenate(rows) if rows else np.empty(0), np.array([len(row) for row in rows], dtype=np.int64)
        )

    def rows(self) -> tuple[NDArray[Any], ...]:
        """The rows again, as views."""
        ends = self.lengths.cumsum().tolist()
        return tuple(self.values[start:end] for start, end in zip([0, *ends], ends, strict=False))


class PacksRows:
    """Base of a dataclass that pickles each tuple of one-dimensional arrays as one array; equal after the way."""

    def __reduce__(self) -> tuple[Any, ...]:
        values = {field.name: _packed(getattr(self, field.name)) for field in fields(self)}  # type: ignore[arg-type]
        return _unpacked, (type(self), values)


def _packed(value: object) -> object:
    if not isinstance(value, tuple) or not value or not all(isinstance(row, np.ndarray) for row in value):
        return value
    return Packed.of(value)


def _unpacked(kind: type[Any], values: dict[str, object]) -> Any:
    return kind(**{name: value.rows() if isinstance(value, Packed) else value for name, value in values.items()})
