"""Passes that run out of memory: done once more in micro-batches of half the size.

What a backward pass that broke off has left, such as gradients of some layers, is thrown away with it: the work begins
anew. A gradient in smaller micro-batches is the same sum in another order, equal up to rounding and not to the bit.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

from actors.messages import Retry
from allgood.errors import TrainingError, first_line

Result = TypeVar("Result")

_OF_THE_CPU = ("not enough memory", "can't allocate memory")  # torch has no type for it there


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed, on a GPU or in the process's own memory."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _OF_THE_CPU)


def halved_once(work: Callable[[int], Result], *, size: int, retries: list[Retry]) -> Result:
    """What `work` makes in passes of at most `size` padded tokens, or of half as many where memory does not suffice.

    Args:
        work: Does everything from the beginning, whatever an earlier call has left.
        size: Padded tokens of the largest pass.
        retries: Takes note of a second call.

    Raises:
        TrainingError: Half the size is too much as well.
    """
    began = time.monotonic()
    try:
        return work(size)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        reason = first_line(error)
    # Not inside the handler: the error's traceback keeps what the pass had allocated.
    reason = f"a micro-batch of up to {size} padded tokens ran out of memory ({reason})"
    remedy = "a lower align.micro_batch_tokens"
    retries.append(Retry(f"{reason}; all are halved for this once, {remedy} saves the time", time.monotonic() - began))
    try:
        return work(max(1, size // 2))
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise TrainingError(
            f"{reason}, and so did its halves; start again with {remedy}, or resume with more memory for the learner"
        ) from error


def in_halves_once(
    rows: Sequence[int], work: Callable[[Sequence[int]], Result], retries: list[Retry]
) -> list[tuple[Sequence[int], Result]]:
    """What `work` makes of rows that share a pass, or of each half of them where memory does not suffice for all.

    For passes that leave nothing behind. The bits may differ from those of the whole: who shares a pass decides them.
    """
    began = time.monotonic()
    try:
        return [(rows, work(rows))]
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error) or len(rows) == 1:
            raise
        reason = (
            f"a micro-batch of {len(rows)} rows ran out of memory ({first_line(error)}); it is halved for this once"
        )
    retries.append(Retry(reason, time.monotonic() - began))
    middle = len(rows) // 2
    return [(half, work(half)) for half in (rows[:middle], rows[middle:])]
