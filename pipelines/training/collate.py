"""Which rows meet in which step: random batches, a function of (number of rows, batch size, seed, epoch) alone.

Only inside a batch are rows of similar length put together, into forward passes of `micro_batch_size` rows. Batches
*made* of rows of one length would save more padding, but their rows are alike in content too, and the training ends
worse: on the embedded world SFT's validation loss was 0.58 with such batches and 0.45 with random ones (300 steps).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray


def epoch_batches(num_rows: int, *, batch_size: int, seed: int, epoch: int) -> list[list[int]]:
    """The global batches of one epoch; each row once, the last batch may be smaller."""
    order = np.random.default_rng([seed, epoch]).permutation(num_rows)
    return [order[start : start + batch_size].tolist() for start in range(0, num_rows, batch_size)]


def step_batches(num_rows: int, *, batch_size: int, seed: int, num_steps: int) -> Iterator[list[int]]:
    """The global batches of a training of `num_steps` steps, epoch after epoch."""
    step, epoch = 0, 0
    while step < num_steps:
        for batch in epoch_batches(num_rows, batch_size=batch_size, seed=seed, epoch=epoch):
            if step == num_steps:
                return
            yield batch
            step += 1
        epoch += 1


def rows_per_pass(batch: list[int], *, micro_batch_size: int | None, world_size: int) -> int:
    """Rows of the largest pass: the whole of the largest share where no size is set."""
    return micro_batch_size or _largest_share(batch, world_size)


def passes(
    batch: list[int], lengths: NDArray[np.int64], *, micro_batch_size: int | None, rank: int, world_size: int
) -> list[list[int]]:
    """The forward passes of one worker for a global batch, rows of similar length together.

    Every worker gets equally many passes, because each pass of one meets a pass of the others when gradients are
    averaged. A pass may be empty where rows do not go round.
    """
    ordered = sorted(batch, key=lambda row: -int(lengths[row]))
    share = ordered[rank::world_size]
    size = rows_per_pass(batch, micro_batch_size=micro_batch_size, world_size=world_size)
    return [share[start : start + size] for start in range(0, _largest_share(batch, world_size), size)]


def _largest_share(batch: list[int], world_size: int) -> int:
    return -(-len(batch) // world_size)
