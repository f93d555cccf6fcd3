"""Tokenised training rows, kept flat, and the padded batches made of them.

Everything is tokenised once, before the training; a step only copies token ids into a padded matrix. Rows are padded on
the right. `units` is what a row's loss counts: loss tokens of a demonstration, or 1 for a preference pair; a batch's
loss is the sum over its rows divided by the sum of their units, however the rows are spread over passes and workers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

Tensors = dict[str, Tensor]


class Rows(Protocol):
    """What the training loop needs to know of its data."""

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each row after padding within the row, [rows]; rows of similar length share a batch."""

    @property
    def units(self) -> NDArray[np.int64]:
        """What the loss of each row counts, [rows]."""

    def tokens_in(self, rows: Sequence[int]) -> int:
        """Tokens of these rows, padding not counted."""

    def collate(self, rows: Sequence[int], *, pad_token: int) -> Tensors:
        """The padded tensors of these rows."""

    def arrays(self) -> tuple[NDArray[Any], ...]:
        """All that the rows are made of, contiguous: equal arrays, equal rows."""


@dataclass(frozen=True)
class Ragged:
    """Token rows of different length in one flat array (which Ray ships without copying)."""

    flat: NDArray[np.int32]
    starts: NDArray[np.int64]  # [rows + 1]

    @staticmethod
    def of(rows: Iterable[ArrayLike]) -> Ragged:
        """Pack token rows."""
        arrays = [np.asarray(row, dtype=np.int32) for row in rows]
        starts = np.cumsum([0, *(len(array) for array in arrays)], dtype=np.int64)
        return Ragged(np.concatenate(arrays) if arrays else np.empty(0, np.int32), starts)

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each row, [rows]."""
        return np.diff(self.starts)

    def lengths_of(self, rows: Sequence[int]) -> NDArray[np.int64]:
        """Tokens of these rows, without looking at all the others."""
        index = np.asarray(rows, dtype=np.int64)
        return self.starts[index + 1] - self.starts[index]

    def __getitem__(self, row: int) -> NDArray[np.int32]:
        return self.flat[self.starts[row] : self.starts[row + 1]]

    def take(self, rows: Sequence[int]) -> Ragged:
        """These rows alone."""
        return Ragged.of([self[row] for row in rows])

    def pad(self, rows: Sequence[int], *, value: int, width: int) -> NDArray[np.int64]:
        """These rows, [rows, width], padded on the right with `value`."""
        padded = np.full((len(rows), width), value, dtype=np.int64)
        for index, row in enumerate(rows):
            tokens = self[row]
            padded[index, : len(tokens)] = tokens
        return padded


@dataclass(frozen=True)
class DemonstrationRows:
    """Conversations of a policy, and which of their tokens the loss is on (`masks`: 0 or 1 per token)."""

    tokens: Ragged
    masks: Ragged

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each row, [rows]."""
        return self.tokens.lengths

    @property
    def units(self) -> NDArray[np.int64]:
        """Loss tokens of each row, [rows]."""
        sums = np.concatenate([[0], np.cumsum(self.masks.flat, dtype=np.int64)])
        units: NDArray[np.int64] = sums[self.masks.starts[1:]] - sums[self.masks.starts[:-1]]
        return units

    def tokens_in(self, rows: Sequence[int]) -> int:
        """Tokens of these rows."""
        return int(self.tokens.lengths_of(rows).sum())

    def collate(self, rows: Sequence[int], *, pad_token: int) -> Tensors:
        """`input_ids` and boolean `loss_mask`, both [rows, tokens]."""
        width = int(self.tokens.lengths_of(rows).max())
        return {
            "input_ids": torch.from_numpy(self.tokens.pad(rows, value=pad_token, width=width)),
            "loss_mask": torch.from_numpy(self.masks.pad(rows, value=0, width=width) > 0),
        }

    def arrays(self) -> tuple[NDArray[Any], ...]:
        """Tokens and masks."""
        return self.tokens.flat, self.tokens.starts, self.masks.flat


@dataclass(frozen=True)
class PairRows:
    """Preference pairs as a reward model reads them; `margins` [pairs] are subtracted inside the log-sigmoid."""

    chosen: Ragged
    rejected: Ragged
    margins: NDArray[np.float32]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of the longer side of each pair, [pairs]."""
        return np.maximum(self.chosen.lengths, self.rejected.lengths)

    @property
    def units(self) -> NDArray[np.int64]:
        """One per pair."""
        return np.ones(len(self.chosen), dtype=np.int64)

    def tokens_in(self, rows: Sequence[int]) -> int:
        """Tokens of both sides of these pairs."""
        return int(self.chosen.lengths_of(rows).sum() + self.rejected.lengths_of(rows).sum())

    def collate(self, rows: Sequence[int], *, pad_token: int) -> Tensors:
        """`input_ids` and `attention_mask` [2 pairs, tokens], chosen above rejected, and `margins` [pairs]."""
        lengths = np.concatenate([self.chosen.lengths_of(rows), self.rejected.lengths_of(rows)])
        width = int(lengths.max())
        sides = [side.pad(rows, value=pad_token, width=width) for side in (self.chosen, self.rejected)]
        return {
            "input_ids": torch.from_numpy(np.concatenate(sides)),
            "attention_mask": torch.from_numpy((np.arange(width) < lengths[:, None]).astype(np.int64)),
            "margins": torch.from_numpy(self.margins[list(rows)]),
        }

    def arrays(self) -> tuple[NDArray[Any], ...]:
        """Tokens of both sides, and margins."""
        return self.chosen.flat, self.chosen.starts, self.rejected.flat, self.rejected.starts, self.margins


def spread(num_rows: int, limit: int | None) -> list[int]:
    """At most `limit` of `num_rows` rows, evenly spread, because rows of one prompt stand together."""
    if limit is None or limit >= num_rows:
        return list(range(num_rows))
    return [int(row) for row in np.linspace(0, num_rows - 1, limit).round()]
